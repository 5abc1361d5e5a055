"""What an evaluation writes: ``metrics.json``, ``similarity.npy`` and ``ranks.csv``, and reading the ranks back."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.metric_names import DIRECTIONS
from tangka_match.metrics import Ranks, retrieval_ranks
from tangka_match.retrieval.evaluation import Evaluation

COLUMNS = ("direction", "query", "image", "rank", "best_wrong", "score_correct", "score_wrong")
READ = COLUMNS[:4]
WRITE_ANEW = "let tangka_match.evaluate write it anew"


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


class Query(NamedTuple):
    """A row of ``ranks.csv``, but for its rank.

    Args:
        direction: ``i2t`` or ``t2i``.
        query: Image id, or caption number.
        image: Id of the query's image.
    """

    direction: str
    query: str
    image: str


def read_ranks_table(path: Path) -> dict[Query, int]:
    """Read who asked what, and the rank of the right answer, from 1; in the order of the file.

    Args:
        path: Of a ``ranks.csv``; the columns ``direction``, ``query``, ``image`` and ``rank`` are read.

    Raises:
        DataFormatError: If it is missing, no such table, or a line of it is malformed, repeated or about an image that
            is not asked for; the message names the line.
    """
    ranks: dict[Query, int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [name for name in READ if name not in (rows.fieldnames or ())]
            if missing:
                raise DataFormatError(f"{path}: line 1 has no column {missing[0]!r}; {WRITE_ANEW}")
            for row in rows:
                query, rank = _parse(row, f"{path}: line {rows.line_num}")
                if query in ranks:
                    repeated = f"the {query.direction} query {query.query!r}"
                    raise DataFormatError(f"{path}: line {rows.line_num} repeats {repeated}; {WRITE_ANEW}")
                ranks[query] = rank
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataFormatError(f"{path}: cannot be read ({error}); {WRITE_ANEW}") from error
    _check_images(path, ranks)
    return ranks


def _parse(row: dict[str, str | None], where: str) -> tuple[Query, int]:
    direction, query, image, rank = (row[name] or "" for name in READ)
    if direction not in DIRECTIONS:
        raise DataFormatError(f"{where} has direction {direction!r}; allowed: {' and '.join(DIRECTIONS)}. {WRITE_ANEW}")
    if not rank.isdecimal() or int(rank) < 1:
        raise DataFormatError(f"{where} has rank {rank!r}; allowed: whole numbers from 1. {WRITE_ANEW}")
    return Query(direction, query, image), int(rank)


def _check_images(path: Path, ranks: dict[Query, int]) -> None:
    """Every image is asked once, and has a caption that is asked too."""
    asked, captioned = ([q.image for q in ranks if q.direction == direction] for direction in DIRECTIONS)
    odd = sorted(set(asked) ^ set(captioned))
    if odd or len(asked) != len(set(asked)):
        image = odd[0] if odd else next(image for image in asked if asked.count(image) > 1)
        counts = f"{asked.count(image)} i2t and {captioned.count(image)} t2i queries"
        raise DataFormatError(
            f"{path}: image {image!r} has {counts}; allowed: one i2t query and at least one t2i query. {WRITE_ANEW}"
        )
    if len(asked) < 2:
        raise DataFormatError(f"{path}: holds {len(asked)} image queries; at least 2 are needed to compare models")


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
