import math

import pytest
import torch
from torch.nn.functional import normalize

from tangka_match.analysis.diagnosis.model.space import (
    close_gap,
    effective_rank,
    judge_space,
    measure_space,
    modality_gap,
    spectrum,
    vectors,
)
from tangka_match.types import Encoded


def cloud(number=200, dims=32, seed=0):
    return torch.randn(number, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def measure(images, texts, scores=None):
    scores = normalize(images, dim=1) @ normalize(texts, dim=1).T if scores is None else scores
    return measure_space(Encoded(pooled=images), Encoded(pooled=texts), scores, torch.arange(len(texts)))


def test_effective_rank_worked_example():
    """Shares 1/2, 1/4, 1/4 have an entropy of 1.5 bits: 2 ** 1.5."""
    assert effective_rank(torch.tensor([2.0, 1.0, 1.0])) == pytest.approx(2**1.5)
    assert effective_rank(torch.tensor([5.0, 0.0])) == pytest.approx(1.0)
    assert effective_rank(torch.ones(7)) == pytest.approx(7.0)


def test_effective_rank_of_vectors_in_a_plane():
    angles = torch.arange(100) * (2 * math.pi / 100)
    plane = torch.zeros(100, 16, dtype=torch.float64)
    plane[:, 3], plane[:, 8] = angles.cos(), angles.sin()
    assert effective_rank(spectrum(plane)) == pytest.approx(2.0)


def test_common_offset_does_not_change_effective_rank():
    """Adding the same vector to all does not change the rank; equal vectors have rank 0."""
    angles = torch.arange(100) * (2 * math.pi / 100)
    plane = torch.stack([angles.cos(), angles.sin(), torch.full((100,), 9.0)], dim=1).double()
    assert effective_rank(spectrum(plane)) == pytest.approx(2.0)
    assert effective_rank(spectrum(normalize(torch.rand(1, 64).double(), dim=1).expand(50, -1))) == 0.0


def test_modality_gap_worked_example():
    """Means (1, 0) and (0, 1) are √2 apart."""
    left = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    right = torch.tensor([[0.0, 1.0]])
    assert modality_gap(left, right) == pytest.approx(math.sqrt(2))
    moved_left, moved_right = close_gap(left, right)
    assert modality_gap(moved_left, moved_right) == pytest.approx(0.0, abs=1e-6)


def test_planted_gap_is_reported_with_its_cost():
    """Captions equal their images, shifted along the direction of largest variance."""
    images = cloud()
    images[:, 0] *= 4
    shift = torch.zeros(32, dtype=torch.float64)
    shift[0] = 6
    space = measure(images, images + shift)
    assert space.gap > 0.5
    assert space.explained == pytest.approx(100.0)
    assert space.mean_r1[1] > space.mean_r1[0] + 2
    (finding,) = judge_space(space, 199)
    assert (finding.code, finding.severity) == ("modality_gap", "info")
    assert finding.points == pytest.approx(space.mean_r1[1] - space.mean_r1[0])


def test_healthy_space_has_no_findings():
    images = cloud()
    space = measure(images, images + 0.1 * cloud(seed=1))
    assert space.gap < 0.3
    assert min(space.ranks) > 25
    assert judge_space(space, 199) == []


def test_low_rank_is_reported_for_the_affected_modality():
    images = cloud()
    flat = images.clone()
    flat[:, 2:] *= 1e-3
    findings = judge_space(measure(images, flat), 199)
    assert [(f.code, f.severity) for f in findings] == [("low_rank", "warning")]
    assert "the caption vectors" in findings[0].seen


def test_few_items_have_no_rank_finding():
    space = measure(cloud(4), cloud(4))
    assert not [f for f in judge_space(space, 3) if f.code == "low_rank"]


def test_scores_unrelated_to_cosines_are_not_explained():
    images = cloud()
    scores = torch.randn(200, 200, generator=torch.Generator().manual_seed(3))
    assert measure(images, images, scores).explained < 1
    assert measure(images, images, torch.full((200, 200), 0.5)).explained == 0.0


def test_unpooled_embeddings_are_averaged():
    tokens = torch.tensor([[[3.0, 0.0], [1.0, 0.0], [9.0, 9.0]]])
    encoded = Encoded(tokens=tokens, mask=torch.tensor([[True, True, False]]))
    assert vectors(encoded).tolist() == [[1.0, 0.0]]


def test_different_dimensions_have_no_space():
    assert measure(cloud(dims=8), cloud(dims=4), torch.zeros(200, 200)) is None
