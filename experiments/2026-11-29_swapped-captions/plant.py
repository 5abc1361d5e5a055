"""Exchange captions between pairs of images: ``python plant.py FOLDER OUT [SHARE] [SEED]``.

FOLDER is a data set in which every image has one caption. OUT gets the same features (as links) and the captions of
train and val, of which SHARE (default 0.05) are exchanged two by two, across both splits. ``swapped.txt`` lists the
images, one id per line.
"""

import sys
from pathlib import Path

import numpy as np

STEMS = ("train", "dev")


def read(path: Path) -> list[str]:
    """Read the lines of a file."""
    return path.read_text("utf-8").split("\n")[:-1]


def main(folder: Path, out: Path, share: float = 0.05, seed: int = 0) -> None:
    """Write the data set with exchanged captions."""
    out.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*_*"):
        if path.name not in {f"{stem}_caps.txt" for stem in STEMS} and not path.name.startswith("near_duplicates"):
            (out / path.name).symlink_to(path.resolve())
    captions = [read(folder / f"{stem}_caps.txt") for stem in STEMS]
    names = [name for stem in STEMS for name in read(folder / f"{stem}_ids.txt")]
    texts = [text for part in captions for text in part]
    pairs = round(share * len(texts) / 2)
    chosen = np.random.default_rng(seed).permutation(len(texts))[: 2 * pairs].reshape(pairs, 2).tolist()
    for one, other in chosen:
        texts[one], texts[other] = texts[other], texts[one]
    train = len(captions[0])
    for stem, part in zip(STEMS, (texts[:train], texts[train:]), strict=True):
        (out / f"{stem}_caps.txt").write_text("\n".join(part) + "\n", "utf-8")
    (out / "swapped.txt").write_text("".join(f"{names[image]}\n" for pair in chosen for image in pair), "utf-8")
    print(f"{2 * pairs} of {len(texts)} captions exchanged")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(float, sys.argv[3:4]), *map(int, sys.argv[4:5]))
