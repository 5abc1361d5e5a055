"""Write a whole demo set to a folder in the precomp layout."""

import json
import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.demo.caption_writer import Caption, write_caption
from tangka_match.demo.feature_writer import FEATURE_DIM, NUM_REGIONS, FeatureWriter
from tangka_match.demo.grammar import SPLITS, Scene, make_scenes, stream
from tangka_match.demo.oracle import oracle_recalls
from tangka_match.demo.painting import paint
from tangka_match.demo.placement import place
from tangka_match.errors import ConfigError, DataFormatError

FORMAT_VERSION = 1
STEMS = {"train": "train", "val": "dev", "test": "test"}
"""What the files of each split are called."""

DEFAULT_NOISE = 0.3
DEFAULT_DUPLICATE_SHARE = 0.06
DEFAULT_COMPLETENESS = 0.36

_SCENES_AT_ONCE = 64
_MOST_THUMBNAILS = 363  # a split; painting costs as much as the features
_NUM_SPECIAL_TOKENS = 4

Progress = Callable[[int, int], None]
"""Called with the number of scenes written so far and the number of all scenes."""


def write_demo_set(
    root: str | Path,
    *,
    seed: int = 0,
    train: int = 2910,
    val: int = 363,
    test: int = 363,
    noise: float | int = DEFAULT_NOISE,
    duplicate_share: float | int = DEFAULT_DUPLICATE_SHARE,
    completeness: float | int = DEFAULT_COMPLETENESS,
    progress: Progress | None = None,
    thumbnails: bool = True,
) -> dict[str, Any]:
    """Write painted scenes in the language of Thangka: features, captions, boxes, thumbnails and the truth about them.

    The folder holds, for the stems ``train``, ``dev`` (the val split) and ``test``: ``<stem>_ims.npy`` (N, 36, 2048)
    float16, ``<stem>_caps.txt``, ``<stem>_ids.txt`` and ``<stem>_boxes.npy`` (N, 36, 4) float32. Beside them lie
    ``scenes.jsonl`` (what every picture shows, what its caption mentions, and the group of near copies it belongs to),
    ``thumbnails/<id>.png`` (val, test and the first 363 of train) and ``README.json``. The same arguments give the same
    bytes; another size of a split leaves its first scenes as they were. All of it is there at the end, or nothing.

    Args:
        root: Folder to make; it must not exist, or be empty.
        seed: Seed of everything.
        train: Number of training pairs, one caption a picture.
        val: Number of validation pairs.
        test: Number of test pairs.
        noise: Standard deviation of the noise in each feature dimension, at least 0; a concept's code has length 12
            over 2,048 dimensions. More noise makes learning harder and leaves the oracle as it is: a small dual encoder
            with attention pooling reaches a mean R@1 of 51, 48, 42, 30 and 13 with noise 0, 0.15, 0.3, 0.5 and 0.8.
        duplicate_share: Share of scenes that copy an earlier one of their split with at most one concept changed, in
            [0, 1). It lowers the oracle.
        completeness: Share of a scene's concepts that its caption sets out to mention, in (0, 1]. Captions end at 40
            words, so fewer are mentioned: 31 % with 0.36, 34 % at most.
        progress: Called after every block of scenes with the scenes done and all scenes.
        thumbnails: Whether to paint the pictures too.

    Returns:
        What ``README.json`` says: settings, counts, vocabulary size, and the oracle's R@1 on each split.

    Raises:
        ConfigError: If a setting is out of its range.
        DataFormatError: If ``root`` is a file or holds anything already.
    """
    settings = {"noise": float(noise), "duplicate_share": float(duplicate_share), "completeness": float(completeness)}
    sizes = {"train": train, "val": val, "test": test}
    check_settings(seed, sizes, settings)
    root = Path(root).absolute()
    _check_free(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        draft = workshop / "set"
        draft.mkdir()
        report = _write_all(draft, seed, sizes, settings, progress=progress, thumbnails=thumbnails)
        _check_free(root)  # somebody else may have written it meanwhile
        draft.replace(root)
    finally:
        shutil.rmtree(workshop)
    return report


def make_captions(scenes: Sequence[Scene], seed: int, completeness: float) -> list[Caption]:
    """The one caption of each scene; it needs no features, so it is quick.

    Example:
        >>> scenes = make_scenes(seed=0, split="val", count=2, duplicate_share=0.0)
        >>> [len(caption.mentioned) > 1 for caption in make_captions(scenes, seed=0, completeness=0.3)]
        [True, True]
    """
    return [write_caption(scene, completeness, stream(seed, scene.split, scene.index, "caption")) for scene in scenes]


def check_settings(seed: int, sizes: Mapping[str, int], settings: Mapping[str, float]) -> None:
    """Refuse what ``write_demo_set`` cannot write.

    Args:
        seed: Of everything.
        sizes: Pairs of each split.
        settings: ``noise``, ``duplicate_share`` and ``completeness``.

    Raises:
        ConfigError: If a setting is out of its range.
    """
    if seed < 0:
        raise ConfigError(f"seed={seed}: must be at least 0.")
    for split, size in sizes.items():
        if size < 1:
            raise ConfigError(f"{split}={size}: every split of the demo set needs at least 1 pair.")
    allowed = {
        "noise": (0 <= settings["noise"] < math.inf, "at least 0, and finite"),
        "duplicate_share": (0 <= settings["duplicate_share"] < 1, "in [0, 1)"),
        "completeness": (0 < settings["completeness"] <= 1, "in (0, 1]"),
    }
    for name, (fine, wanted) in allowed.items():
        if not fine:
            raise ConfigError(f"{name}={settings[name]:g}: must be {wanted}.")


def _check_free(root: Path) -> None:
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        found = "is a file" if root.is_file() else f"holds {len(list(root.iterdir()))} files or folders"
        raise DataFormatError(
            f"{root} {found}; the demo set is never written over anything. Name another folder, or remove this one."
        )


def _write_all(
    root: Path,
    seed: int,
    sizes: dict[str, int],
    settings: dict[str, float],
    *,
    progress: Progress | None,
    thumbnails: bool,
) -> dict[str, Any]:
    writer = FeatureWriter(seed, settings["noise"])
    done, total = 0, sum(sizes.values())
    report: dict[str, Any] = {
        "name": "tangka_match demo set: painted scenes in the language of Thangka",
        "format_version": FORMAT_VERSION,
        "settings": {"seed": seed, **sizes, **settings, "thumbnails": thumbnails},
        "splits": {},
    }
    for split in SPLITS:
        scenes = make_scenes(seed, split, sizes[split], settings["duplicate_share"])
        captions = make_captions(scenes, seed, settings["completeness"])
        _write_text(root, STEMS[split], scenes, captions)
        if split == "train":
            report["vocabulary_size"] = vocabulary_size(captions)
        report["splits"][split] = _describe(scenes, captions, settings["completeness"])
        for written in _write_arrays(root, STEMS[split], scenes, writer):
            if progress is not None:
                progress(done + written, total)
        done += len(scenes)
        if thumbnails:
            _write_thumbnails(root / "thumbnails", scenes[:_MOST_THUMBNAILS], seed)
    _save_json(root / "README.json", report)
    return report


def vocabulary_size(captions: Sequence[Caption]) -> int:
    """Distinct words of some captions as jieba cuts them with the Thangka dictionary, and the four special tokens."""
    tokenizer = _tokenizer()
    return len({word for caption in captions for word in tokenizer(caption.text)}) + _NUM_SPECIAL_TOKENS


@cache
def _tokenizer() -> JiebaTokenizer:
    """Made once a process, since loading the dictionaries takes longer than cutting the captions of a small set."""
    return JiebaTokenizer()


def _describe(scenes: Sequence[Scene], captions: Sequence[Caption], completeness: float) -> dict[str, Any]:
    copies = sum(scene.group != scene.index for scene in scenes)
    mentioned = [len(c.mentioned) / (len(s.elements) - 1) for s, c in zip(scenes, captions, strict=True)]
    return {
        "images": len(scenes),
        "captions": len(captions),
        "regions": NUM_REGIONS,
        "feature_dim": FEATURE_DIM,
        "near_copies": copies,
        "share_of_concepts_mentioned": round(float(np.mean(mentioned)), 4),
        "oracle": oracle_recalls(scenes, captions, completeness),
    }


def _write_text(root: Path, stem: str, scenes: Sequence[Scene], captions: Sequence[Caption]) -> None:
    _save_lines(root / f"{stem}_caps.txt", [caption.text for caption in captions])
    _save_lines(root / f"{stem}_ids.txt", [scene.identifier for scene in scenes])
    members = Counter(scene.group for scene in scenes)
    lines = []
    for scene, caption in zip(scenes, captions, strict=True):
        truth = {
            "id": scene.identifier,
            "split": scene.split,
            "facts": [element.fact for element in scene.elements],
            "mentioned": [element.fact for element in caption.mentioned],
            "group": scenes[scene.group].identifier if members[scene.group] > 1 else None,
        }
        lines.append(json.dumps(truth, ensure_ascii=False))
    with (root / "scenes.jsonl").open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_arrays(root: Path, stem: str, scenes: Sequence[Scene], writer: FeatureWriter) -> Iterator[int]:
    shape = (len(scenes), NUM_REGIONS)
    features = open_memmap(root / f"{stem}_ims.npy", mode="w+", dtype=np.float16, shape=(*shape, FEATURE_DIM))
    boxes = np.empty((*shape, 4), dtype=np.float32)
    for start in range(0, len(scenes), _SCENES_AT_ONCE):
        block = slice(start, start + _SCENES_AT_ONCE)
        features[block], boxes[block] = writer(scenes[block])
        yield min(start + _SCENES_AT_ONCE, len(scenes))
    features.flush()
    np.save(root / f"{stem}_boxes.npy", boxes)


def _write_thumbnails(folder: Path, scenes: Sequence[Scene], seed: int) -> None:
    folder.mkdir(exist_ok=True)
    for scene in scenes:
        places = place(scene, stream(seed, scene.split, scene.index, "layout"))
        picture = paint(scene, places, stream(seed, scene.split, scene.index, "painting"))
        picture.save(folder / f"{scene.identifier}.png", compress_level=6)


def _save_lines(path: Path, lines: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _save_json(path: Path, value: dict[str, Any]) -> None:
    _save_lines(path, json.dumps(value, ensure_ascii=False, indent=2).splitlines())
