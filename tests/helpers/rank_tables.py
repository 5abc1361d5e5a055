"""Evaluation folders with only the files that ``compare`` reads."""

from collections.abc import Sequence
from pathlib import Path

import torch

from tangka_match.metrics import Ranks


def random_ranks(owners: torch.Tensor, found: float, generator: torch.Generator) -> Ranks:
    """Draw ranks: 1 with probability ``found``, else 7."""
    draws = (torch.rand(int(owners.max()) + 1, generator=generator), torch.rand(len(owners), generator=generator))
    return Ranks(*(torch.where(draw < found, 1, 7) for draw in draws))


def table_lines(ranks: Ranks, owners: torch.Tensor) -> list[str]:
    """Return the rows of a ``ranks.csv`` with images ``image-0``, ``image-1`` …"""
    names = [f"image-{row}" for row in range(len(ranks.i2t))]
    rows = [f"i2t,{name},{name},{rank}" for name, rank in zip(names, ranks.i2t.tolist(), strict=True)]
    return rows + [
        f"t2i,{caption},{names[owner]},{rank}"
        for caption, (owner, rank) in enumerate(zip(owners.tolist(), ranks.t2i.tolist(), strict=True))
    ]


def write_folder(folder: Path, lines: Sequence[str]) -> Path:
    """Write a folder with a ``ranks.csv`` of these rows, and return it."""
    folder.mkdir(parents=True)
    (folder / "ranks.csv").write_text("\n".join(("direction,query,image,rank", *lines)) + "\n", "utf-8")
    return folder
