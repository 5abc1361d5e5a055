"""Tiny models, indices and searchers for the tests of search."""

from pathlib import Path
from typing import Any

from helpers.precomp import write_precomp
from helpers.small_checkpoints import SAF, write_checkpoint
from tangka_match.data.split import Split, load_split
from tangka_match.retrieval.index import Index
from tangka_match.retrieval.rescoring import Rescorer
from tangka_match.retrieval.searcher import Searcher
from tangka_match.retrieval.trained_matcher import TrainedMatcher

DUAL = {"_target_": "tangka_match.models.DualEncoder", "embed_dim": 8, "word_dim": 6}
VSE = {
    "_target_": "tangka_match.models.VSE",
    "embed_dim": 8,
    "word_dim": 6,
    "lstm_dim": 4,
    "head_dim": 8,
    "pooling_dim": 4,
    "attention_dim": 4,
}
SCAN = {"_target_": "tangka_match.models.SCAN", "direction": "t2i", "smooth": 9.0, "embed_dim": 8, "word_dim": 6}
HUBS = {
    "_target_": "tangka_match.models.CCA",
    "embed_dim": 8,
    "codebook_size": 5,
    "num_hashes": 40,
    "hub_weight": 0.5,
}
MODELS = {"dual": DUAL, "vse": VSE, "scan": SCAN, "saf": SAF, "hubs": HUBS}


def write_split(root: Path, images: int = 30, **options: Any) -> Split:
    """Write a test split with ids and boxes, two captions per image, and open it."""
    write_precomp(root, "test", images=images, captions_per_image=2, ids="image", boxes=True, **options)
    return load_split(root, "test")


def load_model(path: Path, split: Split, name: str = "dual", batch_size: int = 8) -> TrainedMatcher:
    """Write and load a model with random weights that knows the words of the split."""
    write_checkpoint(path, list(split.captions), model=MODELS[name])
    return TrainedMatcher.load(path, batch_size=batch_size)


def make_rescorer(folder: Path, split: Split, name: str = "dual") -> Rescorer:
    """Return a model and its index of the split, both in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    matcher = load_model(folder / f"{name}.ckpt", split, name)
    return Rescorer(matcher, Index.build(matcher, split, folder / name))


def make_searcher(folder: Path, split: Split, name: str = "dual", **options: Any) -> Searcher:
    """Return a searcher of a model with random weights."""
    return Searcher(split, make_rescorer(folder, split, name), **options)
