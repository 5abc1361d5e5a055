"""How sure a recall is at this number of queries, and what difference could be seen at all."""

from math import sqrt

from tangka_match.analysis.diagnosis.finding import Finding, Section

Z_LEVEL, Z_POWER = 1.959964, 0.841621
"""Normal quantiles: 95 % two-sided, 80 % power."""

AGREEMENT = 0.5
"""Correlation of two models' successes, assumed: two trained models that share features and data reach 0.4 to 0.6."""

COARSE = 2.0
"""Points below which users argue about differences; if fewer cannot be seen the finding says so."""


def smallest_difference(recall: float, queries: int, agreement: float = AGREEMENT) -> float:
    """The smallest true difference of R@1 that a paired test (5 %, two-sided) finds in 80 % of cases.

    Paired, by McNemar's test in its normal form (Connor 1987, "Sample size for testing differences in proportions for
    the paired-sample design"): with a share ψ = 2 p (1 − p) (1 − agreement) of queries that one of the models answers
    and the other does not, it is (1.96 + 0.84) · √(ψ / n). Directions are counted one by one; where an image has
    several captions, n is the number of images, since its captions succeed and fail together.

    Args:
        recall: p, in percent.
        queries: n, at least 1.
        agreement: Correlation of the two models' successes, in [0, 1).

    Returns:
        Points.

    >>> round(smallest_difference(33.88, 363), 1)
    7.0
    """
    return 100.0 * (Z_LEVEL + Z_POWER) * sqrt(_discordant(recall, agreement) / queries)


def queries_needed(recall: float, points: float, agreement: float = AGREEMENT) -> int:
    """Queries with which `smallest_difference` is so many points.

    >>> queries_needed(33.88, 1.0)
    17583
    """
    return round((100.0 * (Z_LEVEL + Z_POWER) / points) ** 2 * _discordant(recall, agreement))


def half_width(recall: float, queries: int) -> float:
    """Half of the 95 % interval of one recall, in points (Wilson 1927).

    >>> round(half_width(37.0, 363), 1)
    4.9
    """
    share, z = recall / 100.0, Z_LEVEL
    return 100.0 * z / (1 + z * z / queries) * sqrt(share * (1 - share) / queries + z * z / (4 * queries * queries))


def diagnose_power(name: str, images: int, recall: float | None) -> Section:
    """What a split of this size can tell.

    Args:
        name: Of the split.
        images: Queries that count as independent.
        recall: R@1 in percent, of the model in question; ``None`` takes 50 %, where the interval is widest.
    """
    at = 50.0 if recall is None else recall
    # Two successes and two failures more (Agresti and Coull 1998): a model that answers nothing promises no certainty.
    planned = 100.0 * (at / 100.0 * images + 2) / (images + 4)
    width, smallest, needed = half_width(at, images), smallest_difference(planned, images), queries_needed(planned, 1.0)
    facts = [
        (f"95 % interval of R@1 at {at:.1f} %", f"± {width:.1f} points ({images:,} images of {name})"),
        ("smallest difference of two models that is seen in 80 % of cases", f"{smallest:.1f} points"),
        ("images needed to see 1 point", f"{needed:,}"),
    ]
    findings = []
    if smallest > COARSE:
        findings.append(
            Finding(
                "few_queries",
                "info",
                f"on {images:,} images of {name} an R@1 of {at:.1f} % is known to ± {width:.1f} points, and two models "
                f"must differ by {smallest:.1f} points for a paired test to notice in four cases of five",
                "smaller differences are one and the same result",
                f"compare models with tangka_match.compare and several seeds; {needed:,} images would show 1 point",
            )
        )
    values = {
        "split": name,
        "recall": at,
        "half_width": width,
        "smallest_difference": smallest,
        "queries_for_one_point": needed,
    }
    return Section("power", "Power: what this many queries can tell", facts, findings, values=values)


def _discordant(recall: float, agreement: float) -> float:
    share = recall / 100.0
    return max(2 * share * (1 - share) * (1 - agreement), 1e-4)
