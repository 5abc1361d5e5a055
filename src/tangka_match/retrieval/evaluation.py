"""Evaluate one trained model, or an ensemble, on a split."""

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.errors import DataFormatError
from tangka_match.metrics import bootstrap_intervals, summarise
from tangka_match.retrieval.protocols import PooledRanks, Protocol, rank_galleries
from tangka_match.retrieval.score_matrix import score_matrix
from tangka_match.retrieval.trained_matcher import TrainedMatcher


@dataclass(frozen=True)
class Evaluation:
    """What a split's evaluation found.

    Args:
        similarity: Scores of the whole set, (I, C), float32.
        pooled: Ranks of every query of the protocol's galleries.
        metrics: By the names of ``metrics.summarise``, in percent or ranks, over all queries of all galleries.
        intervals: 95 % bootstrap intervals over images, by the same names.
        seconds: For the similarity alone, encoding left out.
    """

    similarity: Float[Tensor, "I C"]
    pooled: PooledRanks
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    seconds: float

    def report(self) -> dict[str, object]:
        """Plain values for ``metrics.json``: each metric, its interval under ``<name>_ci95``, sizes and costs."""
        num_images, num_captions = self.similarity.shape
        values: dict[str, object] = {}
        for name, value in self.metrics.items():
            values[name] = value
            values[f"{name}_ci95"] = list(self.intervals[name])
        return values | {
            "num_images": num_images,
            "num_captions": num_captions,
            "similarity_seconds": self.seconds,
            "pairs_per_second": num_images * num_captions / self.seconds,
            "peak_memory_mib": _peak_memory_mib(),
        }


def evaluate_split(matchers: Sequence[TrainedMatcher], split: Split, protocol: Protocol) -> Evaluation:
    """Score every image of a split against every caption, and rank the galleries of a protocol.

    Args:
        matchers: One model, or several, whose scores are averaged: the ensemble that SGRAF reports (Diao et al. 2021,
            arXiv 2101.01368, section 4.2).
        split: Opened.
        protocol: Which galleries.

    Raises:
        TangkaMatchError: If a model and the split do not fit each other, the split has one query alone, or a score is
            NaN.
    """
    if split.num_images < 2 or split.num_captions < 2:
        raise DataFormatError(
            f"{split.captions_path}: {split.num_images} image(s) and {split.num_captions} caption(s); with one query a "
            "recall means nothing: at least 2 of each are needed"
        )
    similarity = torch.zeros(split.num_images, split.num_captions)
    seconds = 0.0
    for matcher in matchers:
        images, texts = matcher.encode_split(split)
        start = time.perf_counter()
        similarity += score_matrix(matcher.matcher, images, texts) / len(matchers)
        seconds += time.perf_counter() - start
    pooled = rank_galleries(similarity, torch.as_tensor(split.caption_to_image), protocol)
    intervals = bootstrap_intervals(pooled.ranks, pooled.t2i_image, query_to_image=pooled.i2t_image)
    return Evaluation(similarity, pooled, summarise(pooled.ranks), intervals, seconds)


def _peak_memory_mib() -> float:
    """Of this process, or of the GPU where one was used, in MiB."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
