"""Contrastive losses against naive loops that follow the equations of their papers."""

import math

import numpy as np
import pytest
import torch

from tangka_match.losses import (
    hal_loss,
    multi_positive_info_nce_loss,
    positive_mask,
    sigmoid_loss,
    soft_label_loss,
    uniformity_loss,
)

POSITIVES = positive_mask(torch.tensor([0, 1, 1, 2, 3, 4]), torch.tensor([0, 1, 2, 3, 3, 5]))
SIZE = len(POSITIVES)
GENERATOR = np.random.default_rng(0)
SCORES = GENERATOR.uniform(0, 1, (SIZE, SIZE))
SCALE = 6.0


def both_ways(anchor_cost):
    """Average a loss of one direction over the scores and their transpose."""
    costs = [anchor_cost(scores[b], b) for scores in (SCORES, SCORES.T) for b in range(SIZE)]
    return sum(costs) / len(costs)


def log_shares(row):
    total = sum(math.exp(SCALE * score) for score in row)
    return [math.log(math.exp(SCALE * score) / total) for score in row]


def test_supervised_contrastive_equation_2():
    def cost(row, b):
        chosen = [share for share, positive in zip(log_shares(row), POSITIVES[b], strict=True) if positive]
        return -sum(chosen) / len(chosen)

    found = multi_positive_info_nce_loss(torch.from_numpy(SCORES), POSITIVES, SCALE)
    assert found.item() == pytest.approx(both_ways(cost))


def test_soft_labels():
    words = GENERATOR.uniform(0, 1, (SIZE, SIZE))
    overlap = (words + words.T) / 2

    def cost(row, b):
        weights = [math.exp((1.0 if POSITIVES[b, c] else overlap[b, c]) / 0.2) for c in range(SIZE)]
        own = [float(positive) / float(POSITIVES[b].sum()) for positive in POSITIVES[b]]
        target = [0.4 * each / sum(weights) + 0.6 * own[c] for c, each in enumerate(weights)]
        return -sum(part * share for part, share in zip(target, log_shares(row), strict=True))

    found = soft_label_loss(
        torch.from_numpy(SCORES), POSITIVES, torch.from_numpy(overlap), SCALE, soft_share=0.4, target_temperature=0.2
    )
    assert found.item() == pytest.approx(both_ways(cost))


def test_siglip_algorithm_1():
    total = 0.0
    for b in range(SIZE):
        for c in range(SIZE):
            label = 1 if POSITIVES[b, c] else -1
            total -= math.log(1 / (1 + math.exp(-label * (SCALE * SCORES[b, c] - 4.0))))
    found = sigmoid_loss(torch.from_numpy(SCORES), POSITIVES, SCALE, -4.0)
    assert found.item() == pytest.approx(total / SIZE)


def test_hal():
    def cost(row, b):
        pushed = sum(math.exp(SCALE * (row[c] - 0.3)) for c in range(SIZE) if not POSITIVES[b, c])
        return math.log(1 + pushed) / SCALE - math.log(1 + row[b]) / 2

    found = hal_loss(torch.from_numpy(SCORES), POSITIVES, SCALE, 0.3)
    assert found.item() == pytest.approx(2 * both_ways(cost))


def test_uniformity_equation_3():
    vectors = GENERATOR.normal(size=(SIZE, 3))
    pairs = [(b, c) for b in range(SIZE) for c in range(b) if not POSITIVES[b, c]]
    potentials = [math.exp(-2 * np.sum((vectors[b] - vectors[c]) ** 2)) for b, c in pairs]
    found = uniformity_loss(torch.from_numpy(vectors), POSITIVES, 2.0)
    assert found.item() == pytest.approx(math.log(sum(potentials) / len(pairs)))
