"""Probability that a pair is mismatched: worked examples, and calibration by simulation."""

import numpy as np
import pytest
import torch

from tangka_match.analysis.diagnosis.pairs.mismatch import find_mismatches, pair_levels, pair_margins


def test_margins_of_a_worked_example():
    """Three images, the first with two captions: its second rival is caption 3, and captions never compete with it."""
    scores = torch.tensor([[0.9, 0.8, 0.1, 0.3], [0.2, 0.4, 0.7, 0.0], [0.6, 0.0, 0.5, 0.1]])
    owners = np.array([0, 0, 1, 2])
    # Two rivals per image (the fewest wrong captions of an image) and two per caption.
    of_images = [(0.1 + 0.3) / 2, (0.2 + 0.4) / 2, (0.6 + 0.5) / 2]
    of_captions = [(0.2 + 0.6) / 2, (0.4 + 0.0) / 2, (0.1 + 0.5) / 2, (0.3 + 0.0) / 2]
    expected = [[float(scores[i, c]) - (of_images[i] + of_captions[c]) / 2 for c in range(4)] for i in range(3)]
    assert pair_margins(scores, owners).tolist() == [pytest.approx(row, abs=1e-6) for row in expected]


def test_levels_are_the_share_of_wrong_pairs_that_fit_worse():
    scores = torch.tensor([[0.9, 0.8, 0.1, 0.3], [0.2, 0.4, 0.7, 0.0], [0.6, 0.0, 0.5, 0.1]])
    owners = np.array([0, 0, 1, 2])
    margins = pair_margins(scores, owners)
    wrong = [float(margins[i, c]) for i in range(3) for c in range(4) if owners[c] != i]
    expected = [np.mean([other < float(margins[i, c]) for other in wrong]) for c, i in enumerate(owners)]
    assert pair_levels(scores, owners).tolist() == pytest.approx(expected)


def test_equal_scores_are_in_the_middle():
    assert pair_levels(torch.ones(5, 5), np.arange(5)).tolist() == [0.5] * 5


def test_levels_of_mismatched_pairs_are_uniform():
    generator = torch.Generator().manual_seed(0)
    scores = [torch.randn(60, 60, generator=generator) for _ in range(20)]
    levels = np.sort(np.concatenate([pair_levels(each, np.arange(60)) for each in scores]))
    assert np.abs(levels - np.linspace(0, 1, len(levels))).max() < 1.63 / np.sqrt(len(levels))  # Kolmogorov, 1 %


def mixture(seed, pairs=3000, wrong=0.05, strength=20.0):
    """Draw levels of pairs of which a share is mismatched; those of the others are those of a good model."""
    random = np.random.default_rng(seed)
    is_wrong = random.random(pairs) < wrong
    return np.where(is_wrong, random.random(pairs), random.beta(strength, 1.0, pairs)), is_wrong


@pytest.mark.parametrize("wrong", [0.02, 0.05, 0.15])
def test_share_is_estimated(wrong):
    shares = [find_mismatches(mixture(seed, wrong=wrong)[0]).share for seed in range(20)]
    assert np.mean(shares) == pytest.approx(wrong, abs=0.003)


def test_probabilities_are_calibrated():
    expected, found, listed = 0.0, 0, 0
    for seed in range(20):
        levels, is_wrong = mixture(seed)
        chosen = find_mismatches(levels).probability >= 0.5
        expected += find_mismatches(levels).probability[chosen].sum()
        found += int((is_wrong & chosen).sum())
        listed += int(chosen.sum())
    assert found / listed > 0.75
    assert expected == pytest.approx(found, rel=0.05)


def test_probability_falls_with_the_level_and_ignores_the_order():
    levels, _ = mixture(0, pairs=300)
    found = find_mismatches(levels)
    order = np.argsort(levels)
    assert (np.diff(found.probability[order]) <= 1e-12).all()
    assert ((found.probability >= 0) & (found.probability <= 1)).all()
    shuffled = np.random.default_rng(1).permutation(300)
    assert find_mismatches(levels[shuffled]).probability.tolist() == found.probability[shuffled].tolist()


def test_perfect_model_has_no_mismatches():
    found = find_mismatches(np.ones(50))
    assert found.share == 0
    assert found.probability.tolist() == [0] * 50


def test_model_at_chance_finds_no_difference():
    found = find_mismatches((np.arange(500) + 0.5) / 500)
    assert found.share == pytest.approx(1.0, abs=0.01)
    assert (found.probability > 0.95).mean() > 0.99


def test_equal_levels_have_equal_probabilities():
    levels = np.array([0.1, 0.2, *[1.0] * 98])
    probability = find_mismatches(levels).probability
    assert probability[:2].tolist() == [1.0, 1.0]
    assert len(set(probability[2:].tolist())) == 1
    assert probability[2] < 0.05
