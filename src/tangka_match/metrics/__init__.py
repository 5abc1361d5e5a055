"""Retrieval metrics: ranks, recall, rank statistics, confidence intervals, and ``RetrievalMetrics``.

Importing this package loads neither Hydra, Lightning nor wandb. ``RetrievalMetrics`` is imported on first use, because
torchmetrics loads scipy and matplotlib.
"""

from typing import TYPE_CHECKING, Any

from tangka_match.metric_names import CUTOFFS
from tangka_match.metrics.intervals import confidence_intervals
from tangka_match.metrics.ranks import Ranks, relevant_ranks, retrieval_ranks
from tangka_match.metrics.recall import mean_rank, median_rank, recall_at_k, summarise

if TYPE_CHECKING:
    from tangka_match.metrics.retrieval_metrics import RetrievalMetrics

__all__ = [
    "CUTOFFS",
    "Ranks",
    "RetrievalMetrics",
    "confidence_intervals",
    "mean_rank",
    "median_rank",
    "recall_at_k",
    "relevant_ranks",
    "retrieval_ranks",
    "summarise",
]


def __getattr__(name: str) -> Any:
    """Import ``RetrievalMetrics`` on first access (PEP 562)."""
    if name == "RetrievalMetrics":
        from tangka_match.metrics.retrieval_metrics import RetrievalMetrics  # noqa: PLC0415 - the lazy import

        return RetrievalMetrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
