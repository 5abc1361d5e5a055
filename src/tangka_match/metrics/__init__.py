"""Ranks, recall, rank statistics, intervals, and ``RetrievalMetrics``; no Hydra, Lightning or wandb.

``RetrievalMetrics`` is imported on first use, because torchmetrics brings scipy and matplotlib along.
"""

from typing import TYPE_CHECKING, Any

from tangka_match.metric_names import CUTOFFS
from tangka_match.metrics.intervals import bootstrap_intervals
from tangka_match.metrics.ranks import Ranks, relevant_ranks, retrieval_ranks
from tangka_match.metrics.recall import mean_rank, median_rank, recall_at_k, summarise

if TYPE_CHECKING:
    from tangka_match.metrics.retrieval_metrics import RetrievalMetrics

__all__ = [
    "CUTOFFS",
    "Ranks",
    "RetrievalMetrics",
    "bootstrap_intervals",
    "mean_rank",
    "median_rank",
    "recall_at_k",
    "relevant_ranks",
    "retrieval_ranks",
    "summarise",
]


def __getattr__(name: str) -> Any:
    """Import ``RetrievalMetrics`` when it is asked for (PEP 562)."""
    if name == "RetrievalMetrics":
        from tangka_match.metrics.retrieval_metrics import RetrievalMetrics  # noqa: PLC0415 - the point of this function

        return RetrievalMetrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
