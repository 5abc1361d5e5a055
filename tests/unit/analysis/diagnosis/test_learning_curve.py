import re

import numpy as np
import pytest

from tangka_match.analysis.diagnosis.learning_curve import CurveSize, diagnose_learning_curve
from tangka_match.analysis.saturating_curve import MeasuredPoints

SHARES = (0.25, 0.5, 0.75, 1.0)
PAIRS = (728, 1455, 2182, 2910)


def section(recall, target, spread=0.1, verdicts=()):
    sizes = [CurveSize(s, n, ["r0", "r1"], verdicts) for s, n in zip(SHARES, PAIRS, strict=True)]
    recalls = np.array([[recall(n) - 0.1, recall(n) + 0.1] for n in PAIRS])
    return diagnose_learning_curve(sizes, MeasuredPoints(recalls, spread**2 * np.eye(4), 8), target)


def rising(n):
    return 90 - 300 * n**-0.25


@pytest.mark.parametrize(
    ("recall", "spread", "target", "code", "expected"),
    [
        (rising, 0.02, 60, "pairs_needed", r"about [\d,]+ pairs \(95 % interval [\d,]+ to [\d,]+\), 3\.\d times"),
        (rising, 0.02, 40, "target_reached", "about 1,[23]00 pairs"),
        (rising, 1.5, 60, "target_open", r"at least 6,\d00 pairs \([\d,]+ by the best curve\); the points do not"),
        (lambda n: 37.0, 0.3, 70, "target_not_reachable", "not reachable even with 100 times as many"),
    ],
)
def test_pairs_needed_for_target(recall, spread, target, code, expected):
    found = section(recall, target, spread)
    assert [finding.code for finding in found.findings] == [code]
    assert re.search(expected, found.findings[0].seen), found.findings[0].seen
    assert re.search(expected, dict(found.facts)[f"pairs for {target} %"])


def test_facts_list_each_size_and_the_extrapolations():
    found = section(rising, 60, 0.02)
    facts = dict(found.facts)
    assert facts["100 %, 2,910 pairs"].startswith("49.15 % [49.1, 49.2]; seeds 49.05 / 49.25")
    assert facts["2 times as many, 5,820 pairs"].startswith("55.6 % [")
    points = found.values["points"]
    assert [point["pairs"] for point in points] == list(PAIRS)
    assert points[3]["recalls"] == pytest.approx([49.05, 49.25], abs=0.01)


def test_guard_verdicts_and_bad_fit_are_reported():
    found = section(rising, 60, verdicts=["short_schedule", "collapse"])
    warnings = {finding.code: finding.seen for finding in found.findings[1:]}
    assert warnings == {
        "curve_collapse": "the guard reported collapse in 4 of 8 runs",
        "curve_short_schedule": "the guard reported short_schedule in 4 of 8 runs",
    }
    assert "curve_misfit" in [f.code for f in section(lambda n: 5 + 40 * (n / 2910) ** 3, 60).findings]


def test_chart_shows_runs_interval_and_target_inside_the_frame():
    (chart,) = section(rising, 60, 0.02).charts
    assert chart.count("<circle") == 8
    assert chart.count("<polygon") == 1
    assert "target 60 %" in chart
    numbers = [float(n) for n in re.findall(r'c[xy]="([\d.-]+)"', chart)]
    assert min(numbers) > 0
    assert max(numbers) < 520
