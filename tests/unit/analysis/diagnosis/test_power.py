import numpy as np
import pytest
import torch

from tangka_match.analysis.diagnosis.power import (
    AGREEMENT,
    diagnose_power,
    queries_needed,
    recall_interval,
    smallest_difference,
)
from tangka_match.metrics import Ranks, confidence_intervals


def test_smallest_difference_has_80_percent_power():
    n, p, rng = 363, 0.3388, np.random.default_rng(0)
    gain = smallest_difference(100 * p, n) / 100
    discordant = 2 * p * (1 - p) * (1 - AGREEMENT)
    shares = [(discordant + gain) / 2, (discordant - gain) / 2, 1 - discordant]
    for_b, for_a, _ = rng.multinomial(n, shares, size=20_000).T
    z = (for_b - for_a) / np.sqrt(for_b + for_a)
    assert (z > 1.96).mean() == pytest.approx(0.80, abs=0.03)


def test_queries_needed_inverts_smallest_difference():
    assert smallest_difference(40.0, queries_needed(40.0, 1.0)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("recall", [5.0, 37.0, 90.0])
def test_interval_covers_95_percent(recall):
    rng, n = np.random.default_rng(1), 363
    found = rng.binomial(n, recall / 100, size=20_000) / n * 100
    values, counts = np.unique(found, return_counts=True)
    covered = [low <= recall <= high for low, high in (recall_interval(value, n) for value in values)]
    assert np.average(covered, weights=counts) == pytest.approx(0.95, abs=0.015)


def test_few_queries_are_reported():
    (finding,) = diagnose_power("val", 363, 37.19).findings
    assert (finding.code, finding.severity) == ("few_queries", "info")
    assert "37.2 % a 95 % interval of 32.4–42.3 %" in finding.seen
    assert "detects a difference of 7.1 points" in finding.seen
    assert "18,362 images" in finding.do


def test_without_a_recall_the_interval_is_that_of_50_percent():
    assert diagnose_power("val", 363, None).values["interval"] == list(recall_interval(50.0, 363))


def test_interval_agrees_with_the_metrics_and_stays_within_100_percent():
    ranks = torch.ones(60, dtype=torch.int64)
    low, high = diagnose_power("val", 60, 100.0).values["interval"]
    assert (low, high) == confidence_intervals(Ranks(ranks, ranks), torch.arange(60))["t2i_r1"]
    assert dict(diagnose_power("val", 60, 100.0).facts)["95 % interval of R@1 at 100.0 %"].startswith(
        f"{low:.1f}–100.0 %"
    )


def test_many_queries_have_no_finding():
    assert diagnose_power("test", 6_000, 37.0).findings == []


def test_recall_of_zero_has_a_positive_smallest_difference():
    """The unadjusted normal approximation would give 0 at a recall of 0 of 40."""
    section = diagnose_power("val", 40, 0.0)
    assert section.values["smallest_difference"] > 2.5  # one image
    assert section.values["queries_for_one_point"] > 1000
