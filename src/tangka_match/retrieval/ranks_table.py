"""``ranks.csv``: a row a query, so that two evaluations can be compared query by query."""

import csv
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.metrics import Ranks

COLUMNS = ("direction", "query", "image", "rank", "best_wrong", "score_correct", "score_wrong")


def write_ranks_table(path: Path, ranks: Ranks, similarity: Float[Tensor, "I C"], split: Split) -> None:
    """Write the ranks of a full gallery.

    Columns: ``direction`` (``i2t`` or ``t2i``); ``query``, an image id or a caption's number from 0; ``image``, the id
    of the query's image; ``rank`` from 1; ``best_wrong``, the best wrong answer, a caption's number or an image id;
    the scores of the best right and of that answer.

    Args:
        path: Of the file.
        ranks: Of the full gallery.
        similarity: Scores, (I, C).
        split: Where images and captions come from.
    """
    own = torch.as_tensor(split.caption_to_image)[None, :] == torch.arange(split.num_images)[:, None]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for image, (rank, (wrong, right_score, wrong_score)) in enumerate(
            zip(ranks.i2t.tolist(), _answers(similarity, own), strict=True)
        ):
            name = split.image_ids[image]
            writer.writerow(("i2t", name, name, rank, wrong, right_score, wrong_score))
        for caption, (rank, (wrong, right_score, wrong_score)) in enumerate(
            zip(ranks.t2i.tolist(), _answers(similarity.T, own.T), strict=True)
        ):
            name = split.image_ids[int(split.caption_to_image[caption])]
            writer.writerow(("t2i", caption, name, rank, split.image_ids[wrong], right_score, wrong_score))


def _answers(scores: Float[Tensor, "N M"], own: Bool[Tensor, "N M"]) -> Iterator[tuple[int, float, float]]:
    """For each query, the best wrong answer, and the scores of the best right one and of it."""
    right = scores.masked_fill(~own, float("-inf")).amax(dim=1)
    wrong = scores.masked_fill(own, float("-inf")).max(dim=1)
    return zip(wrong.indices.tolist(), right.tolist(), wrong.values.tolist(), strict=True)
