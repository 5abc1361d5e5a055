"""Learning curve: the recall expected with more training pairs, and how reliable the extrapolation is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from tangka_match.analysis.comparison import signed
from tangka_match.analysis.diagnosis.charts import draw_learning_curve
from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.analysis.saturating_curve import MAX_EXTRAPOLATION, MeasuredPoints, PairsNeeded, SaturatingCurve

MULTIPLES = (2, 4, 10)
"""Multiples of the present number of pairs for which recalls are extrapolated."""
MIN_FIT_P_VALUE = 0.01
"""p-value of the goodness-of-fit test below which the curve is reported not to fit."""
LABEL = "mean R@1, %"


class CurveSize(NamedTuple):
    """Runs with the same number of training images.

    Attributes:
        share: Share of the training images, in (0, 1].
        pairs: Number of captions, averaged over seeds.
        runs: Run ids, one per seed.
        verdicts: Codes of the guard's verdicts on all runs.
    """

    share: float
    pairs: float
    runs: Sequence[str]
    verdicts: Sequence[str]


def diagnose_learning_curve(sizes: Sequence[CurveSize], measured: MeasuredPoints, target: float) -> Section:
    """Fit the curve and estimate how many pairs a target needs.

    Args:
        sizes: At least three sizes, in rising order.
        measured: Recalls at these sizes.
        target: Target mean R@1, in percent.
    """
    means = measured.recalls.mean(axis=1)
    curve = SaturatingCurve([size.pairs for size in sizes], means.tolist(), measured.covariance, measured.freedom)
    needed = curve.pairs_for(target)
    full = sizes[-1].pairs
    ahead = {times: (curve.at(times * full), *curve.interval_at(times * full)) for times in MULTIPLES}
    facts = [
        (
            f"{100 * size.share:g} %, {size.pairs:,.0f} pairs",
            f"{mean:.2f} % {_interval(*curve_interval)}; seeds {' / '.join(f'{recall:.2f}' for recall in recalls)}",
        )
        for size, mean, recalls, curve_interval in zip(
            sizes, means, measured.recalls, _point_intervals(means, measured), strict=True
        )
    ]
    facts += [
        (f"{times} times as many, {times * full:,.0f} pairs", f"{best:.1f} % {_interval(low, high)}, extrapolated")
        for times, (best, low, high) in ahead.items()
    ]
    facts.append((f"pairs for {target:g} %", _answer(needed, target, full)))
    runs = [
        (size.pairs, float(recall)) for size, recalls in zip(sizes, measured.recalls, strict=True) for recall in recalls
    ]
    last = max(2.2 * full, min(1.1 * (needed.pairs or 0.0), 10.0 * full))
    values = {
        "metric": "val mean_r1",
        "target": target,
        "points": [
            {**size._asdict(), "recalls": recalls.tolist(), "mean": float(mean)}
            for size, recalls, mean in zip(sizes, measured.recalls, means, strict=True)
        ],
        "covariance": measured.covariance.tolist(),
        "curve": {"asymptote": curve.asymptote, "exponent": curve.exponent, "misfit_p": curve.misfit},
        "ahead": {str(times * round(full)): list(found) for times, found in ahead.items()},
        "pairs_needed": needed._asdict(),
    }
    return Section(
        "learning_curve",
        "Learning curve: recall with more training pairs",
        facts,
        [_finding(curve, needed, target, full), *_doubts(curve, sizes)],
        [draw_learning_curve(curve, runs, target, last, LABEL)],
        values,
    )


def _finding(curve: SaturatingCurve, needed: PairsNeeded, target: float, full: float) -> Finding:
    gain = curve.at(2 * full) - curve.at(full)
    low, high = curve.interval_at(2 * full)
    doubled = (
        f"the curve gives {curve.at(full):.1f} % with {full:,.0f} pairs, and {curve.at(2 * full):.1f} % "
        f"{_interval(low, high)} with twice as many"
    )
    seen = f"{target:g} % mean R@1: {_answer(needed, target, full)}; {doubled}"
    if needed.low is None:
        return Finding(
            "target_not_reachable",
            "warning",
            seen,
            "more pairs of this kind do not reach it with this recipe: twice as many change R@1 by "
            f"{signed(gain, 1)} points",
            "change the model, the features or the captions; see the ceiling above",
        )
    if needed.high is None:
        return Finding(
            "target_open",
            "info",
            seen,
            "both curves that reach the target and curves that never reach it fit these points",
            "plan with the recall at twice as many pairs, not with the target; more seeds narrow the interval",
        )
    if needed.high <= full:
        return Finding(
            "target_reached", "info", seen, "the target has been reached already", "set a higher curve.target"
        )
    return Finding(
        "pairs_needed",
        "info",
        seen,
        f"twice as many pairs change R@1 by {signed(gain, 1)} points",
        "collect more pairs only if this number is attainable",
    )


def _doubts(curve: SaturatingCurve, sizes: Sequence[CurveSize]) -> list[Finding]:
    doubts = []
    if curve.misfit < MIN_FIT_P_VALUE:
        doubts.append(
            Finding(
                "curve_misfit",
                "warning",
                f"no saturating power law fits the points (p = {curve.misfit:.3f})",
                "the recall may still be accelerating, or a run may have failed: the extrapolation is unreliable",
                "check the chart and the runs, and use larger shares",
            )
        )
    runs = sum(len(size.runs) for size in sizes)
    for code, why, do in (
        ("collapse", "the recall of a collapsed run does not depend on its number of pairs", "fix the recipe first"),
        (
            "short_schedule",
            "the curve applies to this schedule; a longer one may raise all recalls",
            "repeat it with curve.overrides=['trainer.max_epochs=…'] as the guard advises",
        ),
    ):
        found = sum(list(size.verdicts).count(code) for size in sizes)
        if found:
            seen = f"the guard reported {code} in {found} of {runs} runs"
            doubts.append(Finding(f"curve_{code}", "warning", seen, why, do))
    return doubts


def _point_intervals(means: Sequence[float], measured: MeasuredPoints) -> list[tuple[float, float]]:
    widths = t.ppf(0.975, measured.freedom) * np.sqrt(np.diag(measured.covariance))
    return [(max(0.0, mean - width), min(100.0, mean + width)) for mean, width in zip(means, widths, strict=True)]


def _answer(needed: PairsNeeded, target: float, full: float) -> str:
    if needed.low is None:
        return f"not reachable even with {MAX_EXTRAPOLATION} times as many pairs"
    if needed.high is None:
        estimate = (
            "the best curve never reaches it" if needed.pairs is None else f"{_round(needed.pairs)} by the best curve"
        )
        return f"at least {_round(needed.low)} pairs ({estimate}); the points do not exclude that it is out of reach"
    best = needed.low if needed.pairs is None else needed.pairs
    times = f", {best / full:.1f} times the present number" if best > full else ""
    return f"about {_round(best)} pairs (95 % interval {_round(needed.low)} to {_round(needed.high)}){times}"


def _interval(low: float, high: float) -> str:
    return f"[{low:.1f}, {high:.1f}]"


def _round(pairs: float) -> str:
    """Round to two significant digits.

    >>> _round(12345.6), _round(7.4)
    ('12,000', '7')
    """
    return f"{float(f'{pairs:.2g}'):,.0f}"
