"""Statistical power: the precision of a recall, and the smallest difference of two models that a test detects."""

from math import sqrt

import torch

from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.metrics import Ranks, confidence_intervals

Z_LEVEL, Z_POWER = 1.959964, 0.841621
"""Normal quantiles: 95 % two-sided, 80 % power."""

AGREEMENT = 0.5
"""Assumed correlation of the successes of two models: models with the same features and data reach 0.4 to 0.6."""

MAX_UNDETECTED = 2.0
"""Smallest detectable difference (points) above which the split is reported as small."""


def smallest_difference(recall: float, queries: int, agreement: float = AGREEMENT) -> float:
    """Compute the smallest true difference of R@1 that a paired test (5 %, two-sided) detects with 80 % power.

    McNemar's test in its normal approximation (Connor 1987, "Sample size for testing differences in proportions for
    the paired-sample design"): with a share ψ = 2 p (1 − p) (1 − agreement) of queries that exactly one of the models
    answers correctly, it is (1.96 + 0.84) · √(ψ / n). Applies to one direction; with several captions per image, n is
    the number of images, because captions of an image are correlated.

    Args:
        recall: R@1 p of the models, in percent.
        queries: Number of independent queries n, at least 1.
        agreement: Correlation of the successes of the two models, in [0, 1).

    Returns:
        Difference in points.

    >>> round(smallest_difference(33.88, 363), 1)
    7.0
    """
    return 100.0 * (Z_LEVEL + Z_POWER) * sqrt(_discordant(recall, agreement) / queries)


def queries_needed(recall: float, points: float, agreement: float = AGREEMENT) -> int:
    """Compute the number of queries for which `smallest_difference` equals ``points``.

    >>> queries_needed(33.88, 1.0)
    17583
    """
    return round((100.0 * (Z_LEVEL + Z_POWER) / points) ** 2 * _discordant(recall, agreement))


def recall_interval(recall: float, queries: int) -> tuple[float, float]:
    """Compute the 95 % interval of a recall, as `tangka_match.metrics.confidence_intervals` does for these queries.

    Args:
        recall: Recall in percent; rounded to a whole number of queries.
        queries: Number of independent queries, at least 1; with several captions per image, the number of images.

    Returns:
        (low, high) in percent, within [0, 100].

    >>> [round(end, 1) for end in recall_interval(37.47, 363)]
    [32.6, 42.6]
    """
    ranks = torch.where(torch.arange(queries) < round(recall / 100.0 * queries), 1, 2)
    return confidence_intervals(Ranks(ranks, ranks), torch.arange(queries), resamples=100)["t2i_r1"]


def format_interval(interval: tuple[float, float]) -> str:
    """Format an interval by its ends, which the half-width would not give: it is not symmetric near 0 and 100 %.

    >>> format_interval((94.01, 100.0))
    '94.0–100.0 %'
    """
    low, high = interval
    return f"{low:.1f}–{high:.1f} %"


def diagnose_power(name: str, images: int, recall: float | None) -> Section:
    """Report the precision of recalls on a split of this size.

    Args:
        name: Name of the split.
        images: Number of images, the independent queries.
        recall: R@1 of the model, in percent; ``None`` uses 50 %, where the interval is widest.
    """
    at = 50.0 if recall is None else recall
    # Two successes and two failures are added (Agresti and Coull 1998), or a recall of 0 would have no variance.
    planned = 100.0 * (at / 100.0 * images + 2) / (images + 4)
    interval = recall_interval(at, images)
    smallest, needed = smallest_difference(planned, images), queries_needed(planned, 1.0)
    facts = [
        (f"95 % interval of R@1 at {at:.1f} %", f"{format_interval(interval)} ({images:,} images of {name})"),
        ("smallest difference of two models that a paired test detects with 80 % power", f"{smallest:.1f} points"),
        ("images needed to detect 1 point", f"{needed:,}"),
    ]
    findings = []
    if smallest > MAX_UNDETECTED:
        findings.append(
            Finding(
                "few_queries",
                "info",
                f"{images:,} images of {name} give an R@1 of {at:.1f} % a 95 % interval of "
                f"{format_interval(interval)}; a paired test detects a difference of {smallest:.1f} points with 80 % "
                "power",
                "smaller differences are rarely statistically significant",
                f"compare models with tangka_match.compare and several seeds; {needed:,} images would detect 1 point",
            )
        )
    values = {
        "split": name,
        "recall": at,
        "interval": list(interval),
        "smallest_difference": smallest,
        "queries_for_one_point": needed,
    }
    return Section("power", "Statistical power of this split", facts, findings, values=values)


def _discordant(recall: float, agreement: float) -> float:
    share = recall / 100.0
    return max(2 * share * (1 - share) * (1 - agreement), 1e-4)
