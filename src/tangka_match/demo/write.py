"""Writing of the synthetic set to a folder in the precomp layout."""

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

from tangka_match.data.checks import check_rules
from tangka_match.data.npy import reserve_npy, save_npy
from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.demo.caption_writer import Caption, write_caption
from tangka_match.demo.feature_writer import FEATURE_DIM, NUM_REGIONS, FeatureWriter
from tangka_match.demo.grammar import SPLITS, Scene, make_scenes, stream
from tangka_match.demo.oracle import oracle_recalls
from tangka_match.demo.painting import paint
from tangka_match.demo.placement import place
from tangka_match.errors import DataFormatError
from tangka_match.files import naming

FORMAT_VERSION = 1
STEMS = {"train": "train", "val": "dev", "test": "test"}
"""File stem of each split."""

DEFAULT_NOISE = 0.3
DEFAULT_DUPLICATE_SHARE = 0.06
DEFAULT_COMPLETENESS = 0.36

_SCENES_PER_BLOCK = 64
_MAX_THUMBNAILS = 363  # per split; painting takes as long as the features
_NUM_SPECIAL_TOKENS = 4

Progress = Callable[[int, int], None]
"""Callback with the number of scenes written so far and the total number."""


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
    """Write a synthetic Thangka set: features, captions, boxes, thumbnails and the content of the scenes.

    For the stems ``train``, ``dev`` (val split) and ``test``, the folder contains ``<stem>_ims.npy`` (N, 36, 2048)
    float16, ``<stem>_caps.txt``, ``<stem>_ids.txt`` and ``<stem>_boxes.npy`` (N, 36, 4) float32, and also
    ``scenes.jsonl`` (facts of each scene, facts its caption mentions, and its group of near copies),
    ``thumbnails/<id>.png`` (val, test and the first 363 of train) and ``README.json``. Equal arguments give equal
    bytes; the first scenes of a split do not depend on its size. The folder is written completely or not at all.

    Args:
        root: Folder to create; it must be missing or empty.
        seed: Seed of the set, >= 0.
        train: Number of training pairs, with one caption per image.
        val: Number of validation pairs.
        test: Number of test pairs.
        noise: Standard deviation of the noise in each feature dimension, >= 0; the code of a concept has norm 12 over
            2,048 dimensions. More noise makes learning harder and does not change the oracle: a small dual encoder with
            attention pooling reaches a mean R@1 of 51, 48, 42, 30 and 13 with noise 0, 0.15, 0.3, 0.5 and 0.8.
        duplicate_share: Share of scenes that copy an earlier one of their split with at most one concept changed, in
            [0, 1). It lowers the oracle.
        completeness: Intended share of the concepts of a scene that its caption mentions, in (0, 1]. Because captions
            are limited to 40 words, fewer are mentioned: 31 % for 0.36, 34 % at most.
        progress: Callback after each block of scenes.
        thumbnails: Whether to paint the thumbnails.

    Returns:
        Content of ``README.json``: settings, counts, vocabulary size, and R@1 of the oracle on each split.

    Raises:
        ConfigError: If a setting is out of range.
        DataFormatError: If ``root`` is a file or is not empty.
    """
    settings = {"noise": float(noise), "duplicate_share": float(duplicate_share), "completeness": float(completeness)}
    sizes = {"train": train, "val": val, "test": test}
    check_settings(seed, sizes, settings)
    root = Path(root).absolute()
    _check_empty(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        incomplete = temporary / "set"
        incomplete.mkdir()
        report = _write_all(incomplete, seed, sizes, settings, progress=progress, thumbnails=thumbnails)
        _check_empty(root)  # another process may have written it in the meantime
        incomplete.replace(root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return report


def make_captions(scenes: Sequence[Scene], seed: int, completeness: float) -> list[Caption]:
    """Write the caption of each scene, without its features.

    Example:
        >>> scenes = make_scenes(seed=0, split="val", count=2, duplicate_share=0.0)
        >>> [len(caption.mentioned) > 1 for caption in make_captions(scenes, seed=0, completeness=0.3)]
        [True, True]
    """
    return [write_caption(scene, completeness, stream(seed, scene.split, scene.index, "caption")) for scene in scenes]


def check_settings(seed: int, sizes: Mapping[str, int], settings: Mapping[str, float]) -> None:
    """Check the settings of ``write_demo_set``.

    Args:
        seed: Seed of the set.
        sizes: Number of pairs of each split.
        settings: ``noise``, ``duplicate_share`` and ``completeness``.

    Raises:
        ConfigError: If a setting is out of range.
    """
    noise, duplicates, completeness = (settings[name] for name in ("noise", "duplicate_share", "completeness"))
    check_rules(
        {
            f"seed={seed} must be >= 0": seed >= 0,
            **{f"{split}={size} must be >= 1 (pairs)": size >= 1 for split, size in sizes.items()},
            f"noise={noise:g} must be >= 0 and finite": 0 <= noise < math.inf,
            f"duplicate_share={duplicates:g} must be in [0, 1)": 0 <= duplicates < 1,
            f"completeness={completeness:g} must be in (0, 1]": 0 < completeness <= 1,
        }
    )


def _check_empty(root: Path) -> None:
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        found = "is a file" if root.is_file() else f"contains {len(list(root.iterdir()))} files or folders"
        raise DataFormatError(
            f"{root} {found}; the demo set never overwrites existing files. Choose another folder, or remove this one."
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
            _write_thumbnails(root / "thumbnails", scenes[:_MAX_THUMBNAILS], seed)
    _save_json(root / "README.json", report)
    return report


def vocabulary_size(captions: Sequence[Caption]) -> int:
    """Count the distinct words of captions, as tokenised by jieba with the Thangka terms, plus the special tokens."""
    tokenizer = _tokenizer()
    return len({word for caption in captions for word in tokenizer(caption.text)}) + _NUM_SPECIAL_TOKENS


@cache
def _tokenizer() -> JiebaTokenizer:
    """Create one tokenizer per process: loading the dictionaries takes longer than tokenising a small set."""
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
    path = root / "scenes.jsonl"
    with naming(path), path.open("a", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _write_arrays(root: Path, stem: str, scenes: Sequence[Scene], writer: FeatureWriter) -> Iterator[int]:
    shape = (len(scenes), NUM_REGIONS)
    path = root / f"{stem}_ims.npy"
    boxes = np.empty((*shape, 4), dtype=np.float32)
    with naming(path):
        offset = reserve_npy(path, (*shape, FEATURE_DIM), np.dtype(np.float16))
        with path.open("r+b") as file:
            file.seek(offset)
            for start in range(0, len(scenes), _SCENES_PER_BLOCK):
                block = slice(start, start + _SCENES_PER_BLOCK)
                features, boxes[block] = writer(scenes[block])
                file.write(features.astype(np.float16).tobytes())
                yield min(start + _SCENES_PER_BLOCK, len(scenes))
    with naming(root / f"{stem}_boxes.npy"):
        save_npy(root / f"{stem}_boxes.npy", boxes)


def _write_thumbnails(folder: Path, scenes: Sequence[Scene], seed: int) -> None:
    folder.mkdir(exist_ok=True)
    for scene in scenes:
        places = place(scene, stream(seed, scene.split, scene.index, "layout"))
        picture = paint(scene, places, stream(seed, scene.split, scene.index, "painting"))
        picture.save(folder / f"{scene.identifier}.png", compress_level=6)


def _save_lines(path: Path, lines: Sequence[str]) -> None:
    with naming(path), path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


def _save_json(path: Path, value: dict[str, Any]) -> None:
    _save_lines(path, json.dumps(value, ensure_ascii=False, indent=2).splitlines())
