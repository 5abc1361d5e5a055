"""Tiny data sets in the precomp layout, written in milliseconds.

>>> import tempfile
>>> written = write_precomp(tempfile.mkdtemp(), images=3, captions_per_image=2, regions=4, dim=8)
>>> written.features.shape, len(written.captions), written.caption_to_image.tolist()
((3, 4, 8), 6, [0, 0, 1, 1, 2, 2])
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FIGURES = (
    "绿度母",
    "白度母",
    "文殊菩萨",
    "四臂观音",
    "药师佛",
    "莲花生大师",
    "金刚手",
    "黄财神",
    "释迦牟尼佛",
    "宗喀巴大师",
)
SEATS = ("莲花座", "狮子座", "月轮", "日轮", "法座", "白象", "孔雀座")
OBJECTS = ("金刚杵", "宝剑", "莲花", "经书", "念珠", "净瓶", "钵", "法轮", "海螺", "宝幢", "嘎巴拉碗")


@dataclass(frozen=True)
class WrittenSplit:
    """Content of a written split: unique images (before images are repeated per caption) and captions."""

    root: Path
    stem: str
    features: npt.NDArray[Any]
    captions: list[str]
    caption_to_image: npt.NDArray[np.int64]
    image_ids: list[str]

    def path(self, suffix: str) -> Path:
        """Return the path of a file of this split, for example ``path("_ims.npy")``."""
        return self.root / f"{self.stem}{suffix}"


def make_captions(images: Sequence[int]) -> list[str]:
    """Write one Chinese sentence per entry: the image determines figure and seat, the position the held object.

    >>> make_captions([0, 0, 1])
    ['绿度母坐在莲花座上,手持金刚杵。', '绿度母坐在莲花座上,手持宝剑。', '白度母坐在狮子座上,手持莲花。']
    """
    return [
        f"{FIGURES[i % len(FIGURES)]}坐在{SEATS[i % len(SEATS)]}上,手持{OBJECTS[n % len(OBJECTS)]}。"
        for n, i in enumerate(images)
    ]


def write_precomp(
    root: str | Path,
    split: str = "train",
    *,
    images: int = 6,
    captions_per_image: int | Sequence[int] = 1,
    regions: int = 4,
    dim: int = 8,
    dtype: str = "float16",
    padded: int = 0,
    ids: Literal["image", "caption"] | None = None,
    boxes: bool = False,
    repeat_rows: bool = False,
    captions: Sequence[str] | None = None,
    seed: int = 0,
) -> WrittenSplit:
    """Write one split, with captions related to their images so that models can learn the pairs.

    Args:
        root: Folder, created if missing.
        split: Name of the split; ``val`` is written as ``dev``.
        images: Number of unique images.
        captions_per_image: One number for all images, or one per image (which needs ``ids="caption"``).
        regions: Regions per image.
        dim: Dimensions per region.
        dtype: Stored dtype of the features.
        padded: Number of all-zero regions at the end of each image.
        ids: Whether ``_ids.txt`` has one line per image or per caption; ``None`` writes none.
        boxes: Whether to write ``_boxes.npy``.
        repeat_rows: Whether images are repeated per caption.
        captions: Captions to write instead of generated ones.
        seed: Seed of the noise in the features; the prototypes do not depend on it.
    """
    root, stem = Path(root), "dev" if split == "val" else split
    root.mkdir(parents=True, exist_ok=True)
    counts = [captions_per_image] * images if isinstance(captions_per_image, int) else list(captions_per_image)
    caption_to_image = np.repeat(np.arange(len(counts)), counts)
    written = WrittenSplit(
        root=root,
        stem=stem,
        features=_make_features(len(counts), regions, dim, padded, seed).astype(dtype),
        captions=list(captions) if captions is not None else make_captions(caption_to_image.tolist()),
        caption_to_image=caption_to_image,
        image_ids=[f"{stem}-{image:04}" for image in range(len(counts))],
    )
    rows = caption_to_image if repeat_rows else np.arange(len(counts))
    np.save(written.path("_ims.npy"), written.features[rows])
    write_lines(written.path("_caps.txt"), written.captions)
    if ids is not None:
        named = caption_to_image if ids == "caption" else np.arange(len(counts))
        write_lines(written.path("_ids.txt"), [written.image_ids[image] for image in named])
    if boxes:
        corners = np.sort(np.random.default_rng(seed).random((len(counts), regions, 2, 2)), axis=2)
        np.save(written.path("_boxes.npy"), corners.reshape(len(counts), regions, 4).astype(np.float32)[rows])
    return written


def write_dataset(
    root: str | Path, *, train: int = 12, val: int = 6, captions_per_image: int = 1, regions: int = 4, dim: int = 8
) -> Path:
    """Write a ``train`` and a ``val`` split with these numbers of images."""
    for seed, (split, images) in enumerate({"train": train, "val": val}.items()):
        write_precomp(
            root, split, images=images, captions_per_image=captions_per_image, regions=regions, dim=dim, seed=seed
        )
    return Path(root)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write lines to a UTF-8 text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _make_features(images: int, regions: int, dim: int, padded: int, seed: int) -> npt.NDArray[np.float64]:
    """Generate features: prototypes of figure and seat in alternating regions, plus noise."""
    prototypes = np.random.default_rng(1000)
    figures, seats = prototypes.normal(size=(len(FIGURES), dim)), prototypes.normal(size=(len(SEATS), dim))
    number = np.arange(images)
    features = np.empty((images, regions, dim))
    features[:, 0::2] = figures[number % len(FIGURES), None]
    features[:, 1::2] = seats[number % len(SEATS), None]
    features += 0.1 * np.random.default_rng(seed).normal(size=features.shape)
    features[:, regions - padded :] = 0
    return features
