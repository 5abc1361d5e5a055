"""Folders as ``evaluate`` leaves them, with only what ``compare`` reads."""

from collections.abc import Sequence
from pathlib import Path

import torch

from tangka_match.metrics import Ranks


def random_ranks(owners: torch.Tensor, found: float, generator: torch.Generator) -> Ranks:
    """Ranks of which the given share is 1, and the others 7."""
    draws = (torch.rand(int(owners.max()) + 1, generator=generator), torch.rand(len(owners), generator=generator))
    return Ranks(*(torch.where(draw < found, 1, 7) for draw in draws))


def table_lines(ranks: Ranks, owners: torch.Tensor) -> list[str]:
    """The rows of a ``ranks.csv``; images are ``image-0``, ``image-1`` …"""
    names = [f"image-{row}" for row in range(len(ranks.i2t))]
    rows = [f"i2t,{name},{name},{rank}" for name, rank in zip(names, ranks.i2t.tolist(), strict=True)]
    return rows + [
        f"t2i,{caption},{names[owner]},{rank}"
        for caption, (owner, rank) in enumerate(zip(owners.tolist(), ranks.t2i.tolist(), strict=True))
    ]


def write_folder(folder: Path, lines: Sequence[str]) -> Path:
    """A folder with a ``ranks.csv`` of these rows."""
    folder.mkdir(parents=True)
    (folder / "ranks.csv").write_text("\n".join(("direction,query,image,rank", *lines)) + "\n", "utf-8")
    return folder
