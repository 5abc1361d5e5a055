"""W&B tables of validation queries: what was asked, the rank of the right answer, the best answers, and pictures."""

from collections.abc import Sequence

import wandb
from PIL import Image

from tangka_match.data.split import Split
from tangka_match.data.thumbnails import find_thumbnail
from tangka_match.retrieval.examples import Example, Examples

MOST = (256, 256)
"""Width and height that a picture is brought down to, in pixels."""


def examples_tables(examples: Examples, split: Split) -> dict[str, wandb.Table]:
    """Make a table a direction; it has pictures where the set has thumbnails of any image in it.

    Args:
        examples: Queries and their answers.
        split: Where they come from.
    """
    asked = [[_picture(split, example.query)] for example in examples.i2t]
    answered = [[_picture(split, answer.item) for answer in example.answers] for example in examples.t2i]
    return {
        "examples/i2t": _table(examples.i2t, split.image_ids, split.captions, asked),
        "examples/t2i": _table(examples.t2i, split.captions, split.image_ids, answered),
    }


def _table(
    examples: Sequence[Example],
    queries: Sequence[str],
    items: Sequence[str],
    pictures: Sequence[Sequence[wandb.Image | None]],
) -> wandb.Table:
    """A row a query; a right answer is ticked."""
    numbers = range(1, len(examples[0].answers) + 1)
    columns: list[str | int] = ["query", "rank", *(f"answer {n}" for n in numbers)]
    rows = [
        [
            queries[example.query],
            example.rank,
            *(f"{'✓' if right else '✗'} {items[item]} ({score:.3f})" for item, score, right in example.answers),
        ]
        for example in examples
    ]
    if any(picture is not None for row in pictures for picture in row):
        columns += ["picture"] if len(pictures[0]) == 1 else [f"picture {n}" for n in numbers]
        rows = [[*row, *shown] for row, shown in zip(rows, pictures, strict=True)]
    return wandb.Table(columns=columns, data=rows)


def _picture(split: Split, image: int) -> wandb.Image | None:
    """The thumbnail of an image, ``None`` where there is none, or none that can be read."""
    path = find_thumbnail(split.captions_path.parent, split.image_ids[image])
    if path is None:
        return None
    try:
        with Image.open(path) as opened:
            small = opened.convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return None
    small.thumbnail(MOST)
    return wandb.Image(small, caption=split.image_ids[image])
