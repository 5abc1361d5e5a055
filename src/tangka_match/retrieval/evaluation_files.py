"""Files of an evaluation: write ``metrics.json``, ``similarity.npy`` and ``ranks.csv``, and read ``ranks.csv``."""

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.data.npy import save_npy
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.files import naming, written_completely
from tangka_match.metric_names import DIRECTIONS
from tangka_match.metrics import Ranks, retrieval_ranks
from tangka_match.retrieval.answers import Pairs, own_pairs
from tangka_match.retrieval.evaluation import Evaluation

FILES = ("similarity.npy", "ranks.csv", "metrics.json")
"""In the order of writing: ``metrics.json`` last, so that its presence means a complete evaluation."""
PARTIAL = {name: f".partial-{name}" for name in FILES}
COLUMNS = ("direction", "query", "image", "rank", "best_wrong", "score_correct", "score_wrong")
REQUIRED_COLUMNS = COLUMNS[:4]
_MOST_DIGITS = 12
"""Digits of the largest rank that is read; a longer number is damage."""
WRITE_AGAIN = "write it again with tangka_match.evaluate"


class Query(NamedTuple):
    """Query of one row of ``ranks.csv``.

    Attributes:
        direction: ``i2t`` or ``t2i``.
        query: Image id, or index of the caption.
        image: Id of the query's image.
    """

    direction: str
    query: str
    image: str


def check_out(folder: Path) -> bool:
    """Check that an evaluation may be written to a folder: a new one, or one that holds only an evaluation.

    Returns:
        Whether it holds an earlier evaluation, complete or interrupted.

    Raises:
        ConfigError: If it is a file, or holds anything else.
    """
    existing = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    others = sorted({*existing} - {*FILES, *PARTIAL.values()})
    if folder.is_file() or others:
        found = f"holds {', '.join(others[:3])}" if others else "is a file"
        raise ConfigError(
            f"out={folder} {found}, and nothing is overwritten; give a new folder, or one that holds only an evaluation"
        )
    return bool(existing)


def write_evaluation(folder: Path, evaluation: Evaluation, split: Pairs, about: Mapping[str, object]) -> None:
    """Write the three files of an evaluation; each is written completely or not at all.

    ``ranks.csv`` ranks the full gallery under every protocol, because models are compared by it.

    Args:
        folder: Output folder, created if missing.
        evaluation: Result of the evaluation.
        split: Split that was evaluated.
        about: First entries of ``metrics.json``: checkpoints, data, protocol.
    """
    text = json.dumps({**about, **evaluation.report()}, ensure_ascii=False, indent=1) + "\n"
    with ExitStack() as stack:
        # Renamed in reverse order.
        partial = {name: stack.enter_context(written_completely(folder / name)) for name in reversed(FILES)}
        with naming(folder / "metrics.json"):
            partial["metrics.json"].write_text(text, encoding="utf-8")
        with naming(folder / "similarity.npy"):
            save_npy(partial["similarity.npy"], evaluation.similarity.numpy())
        ranks = retrieval_ranks(evaluation.similarity, torch.as_tensor(split.caption_to_image))
        with naming(folder / "ranks.csv"):
            write_ranks_table(partial["ranks.csv"], ranks, evaluation.similarity, split)
        (folder / "metrics.json").unlink(missing_ok=True)  # of an earlier evaluation, whose other files are replaced


def write_ranks_table(path: Path, ranks: Ranks, similarity: Float[Tensor, "I C"], split: Pairs) -> None:
    """Write the ranks of a full gallery as CSV, one row per query.

    Columns: ``direction`` (``i2t`` or ``t2i``); ``query``, an image id or the index of a caption; ``image``, the id of
    the query's image; ``rank`` from 1; ``best_wrong``, the best wrong answer, the index of a caption or an image id;
    ``score_correct`` and ``score_wrong``, the scores of the best correct answer and of the best wrong one.

    Args:
        path: Output file.
        ranks: Ranks in the full gallery.
        similarity: Scores, (I, C).
        split: Split that the scores belong to.
    """
    own = own_pairs(split)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for image, (rank, (wrong, right_score, wrong_score)) in enumerate(
            zip(ranks.i2t.tolist(), _best_scores(similarity, own), strict=True)
        ):
            name = split.image_ids[image]
            writer.writerow(("i2t", name, name, rank, wrong, right_score, wrong_score))
        for caption, (rank, (wrong, right_score, wrong_score)) in enumerate(
            zip(ranks.t2i.tolist(), _best_scores(similarity.T, own.T), strict=True)
        ):
            name = split.image_ids[int(split.caption_to_image[caption])]
            writer.writerow(("t2i", caption, name, rank, split.image_ids[wrong], right_score, wrong_score))


def _best_scores(scores: Float[Tensor, "N M"], own: Bool[Tensor, "N M"]) -> Iterator[tuple[int, float, float]]:
    """Yield per query the best wrong answer, the best correct score and the best wrong score."""
    right = scores.masked_fill(~own, float("-inf")).amax(dim=1)
    wrong = scores.masked_fill(own, float("-inf")).max(dim=1)
    return zip(wrong.indices.tolist(), right.tolist(), wrong.values.tolist(), strict=True)


def ranks_by_query(similarity: Float[Tensor, "I C"], pairs: Pairs) -> dict[Query, int]:
    """Rank the full gallery, and return the ranks as `read_ranks_table` does.

    Args:
        similarity: Scores, (I, C).
        pairs: Images and captions that the scores belong to.

    Raises:
        TrainingError: If a score is NaN.
    """
    ranks = retrieval_ranks(similarity, torch.as_tensor(pairs.caption_to_image))
    owners = [pairs.image_ids[row] for row in pairs.caption_to_image.tolist()]
    return {
        **{Query("i2t", name, name): rank for name, rank in zip(pairs.image_ids, ranks.i2t.tolist(), strict=True)},
        **{Query("t2i", str(at), owners[at]): rank for at, rank in enumerate(ranks.t2i.tolist())},
    }


def read_ranks_table(path: Path) -> dict[Query, int]:
    """Read the queries and ranks of a ``ranks.csv``.

    Args:
        path: CSV file with at least the columns ``direction``, ``query``, ``image`` and ``rank``.

    Returns:
        Rank of the best correct answer of each query, from 1, in the order of the file.

    Raises:
        DataFormatError: If the file is missing or no ranks table, a line is malformed or repeated, or an image lacks
            queries of a direction.
    """
    ranks: dict[Query, int] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [name for name in REQUIRED_COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise DataFormatError(f"{path}: line 1 has no column {missing[0]!r}; {WRITE_AGAIN}")
            for row in rows:
                query, rank = _parse(row, f"{path}: line {rows.line_num}")
                if query in ranks:
                    repeated = f"the {query.direction} query {query.query!r}"
                    raise DataFormatError(f"{path}: line {rows.line_num} repeats {repeated}; {WRITE_AGAIN}")
                ranks[query] = rank
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataFormatError(f"{path}: cannot be read ({error}); {WRITE_AGAIN}") from error
    _check_images(path, ranks)
    return ranks


def _parse(row: dict[str, str | None], where: str) -> tuple[Query, int]:
    direction, query, image, rank = (row[name] or "" for name in REQUIRED_COLUMNS)
    if direction not in DIRECTIONS:
        raise DataFormatError(
            f"{where} has direction {direction!r}; allowed: {' and '.join(DIRECTIONS)}; {WRITE_AGAIN}"
        )
    if not rank.isdecimal() or len(rank) > _MOST_DIGITS or int(rank) < 1:
        raise DataFormatError(f"{where} has rank {rank[:40]!r}; allowed: whole numbers from 1; {WRITE_AGAIN}")
    return Query(direction, query, image), int(rank)


def _check_images(path: Path, ranks: dict[Query, int]) -> None:
    """Check that every image has one image query and at least one caption query."""
    image_queries, caption_queries = ([q.image for q in ranks if q.direction == direction] for direction in DIRECTIONS)
    odd = sorted(set(image_queries) ^ set(caption_queries))
    if odd or len(image_queries) != len(set(image_queries)):
        image = odd[0] if odd else next(image for image in image_queries if image_queries.count(image) > 1)
        counts = f"{image_queries.count(image)} i2t and {caption_queries.count(image)} t2i queries"
        raise DataFormatError(
            f"{path}: image {image!r} has {counts}; allowed: one i2t query and at least one t2i query; {WRITE_AGAIN}"
        )
    if len(image_queries) < 2:
        raise DataFormatError(f"{path}: holds {len(image_queries)} image queries; comparing models needs at least 2")
