"""What an evaluation leaves behind: ``metrics.json``, ``similarity.npy`` and ``ranks.csv`` in one folder."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.metrics import retrieval_ranks
from tangka_match.retrieval.evaluation import Evaluation
from tangka_match.retrieval.ranks_table import write_ranks_table

FILES = ("similarity.npy", "ranks.csv", "metrics.json")  # in the order of writing: the last says that all are there
PARTIAL = {name: f".partial-{name}" for name in FILES}


def check_out(folder: Path) -> bool:
    """Make sure that an evaluation may be written to a folder: a new one, or that of an earlier evaluation.

    Returns:
        Whether it holds an earlier evaluation, or what an interrupted one left.

    Raises:
        ConfigError: If it is a file, or holds anything else.
    """
    found_there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = sorted({*found_there} - {*FILES, *PARTIAL.values()})
    if folder.is_file() or others:
        found = f"holds {', '.join(others[:3])}" if others else "is a file"
        raise ConfigError(f"out={folder} {found}; nothing is overwritten: give a new folder, or that of an evaluation")
    return bool(found_there)


def write_evaluation(folder: Path, evaluation: Evaluation, split: Split, about: Mapping[str, object]) -> None:
    """Write the three files; each is complete or not there, and ``metrics.json`` is there only if all three are.

    ``ranks.csv`` ranks the full gallery, whatever the protocol: it is what two models are compared by.

    Args:
        folder: Made when missing.
        evaluation: What was found.
        split: What it was found on.
        about: Put before the numbers of ``metrics.json``: checkpoints, data, protocol.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = {name: folder / PARTIAL[name] for name in FILES}
    text = json.dumps({**about, **evaluation.report()}, ensure_ascii=False, indent=1) + "\n"
    partial["metrics.json"].write_text(text, encoding="utf-8")
    with partial["similarity.npy"].open("wb") as file:
        np.save(file, evaluation.similarity.numpy())
    ranks = retrieval_ranks(evaluation.similarity, torch.as_tensor(split.caption_to_image))
    write_ranks_table(partial["ranks.csv"], ranks, evaluation.similarity, split)
    (folder / "metrics.json").unlink(missing_ok=True)  # of an earlier evaluation, whose other files go first
    for name in FILES:
        partial[name].replace(folder / name)
