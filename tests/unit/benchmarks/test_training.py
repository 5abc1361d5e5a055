"""Smoke tests: what the benchmarks and `make gpu` measure still runs with the models and losses of today."""

import pytest
import torch

from benchmarks.gpu import train_step
from benchmarks.loading import step
from benchmarks.training_step import gradients, largest_error
from benchmarks.workload import OURS, PUBLISHED, draw_captions, draw_regions, slow_similarity, triplet_loss
from tangka_match.models import SGRAF, VSE
from tangka_match.types import RegionTextBatch

PAIRS = 4
SGRAF_SIZES = {"vocab_size": 1562, "feature_dim": 2048, "embed_dim": 16, "word_dim": 4, "sim_dim": 8}


def small_sgraf(reasoning="sgr"):
    torch.manual_seed(0)
    return SGRAF(**SGRAF_SIZES, reasoning=reasoning, dropout=0.0)


def small_vse():
    torch.manual_seed(0)
    return VSE(vocab_size=1562, feature_dim=2048, embed_dim=8)


@pytest.mark.parametrize("reasoning", ["sgr", "saf"])
def test_compared_training_steps_have_equal_gradients(reasoning):
    model = small_sgraf(reasoning).double()
    found = [gradients(model, way, PAIRS) for way in (OURS, PUBLISHED)]
    assert largest_error(*found) < 1e-6


def trained_sides(model):
    """Return whether the image and the text encoder got gradients, by the first part of their parameters' names."""
    grads = {name: p.grad is not None and bool(p.grad.abs().sum() > 0) for name, p in model.named_parameters()}
    return {name.partition(".")[0] for name, has_gradient in grads.items() if has_gradient}


@pytest.mark.parametrize(
    ("build", "similarity"),
    [(small_vse, VSE.similarity), (small_sgraf, SGRAF.similarity), (small_sgraf, slow_similarity)],
    ids=["vse", "sgr", "loop"],
)
def test_the_step_of_make_gpu_trains_every_part(build, similarity):
    model = build()
    train_step(model, similarity, [*draw_regions(PAIRS), *draw_captions(PAIRS)])
    assert trained_sides(model) == {name.partition(".")[0] for name, _ in model.named_parameters()}


def test_the_step_beside_reading_trains_every_part():
    model, index = small_vse(), torch.arange(PAIRS)
    step(model, RegionTextBatch(*draw_regions(PAIRS), *draw_captions(PAIRS), index, index, index))
    assert trained_sides(model) == {name.partition(".")[0] for name, _ in model.named_parameters()}


def test_loss_of_perfect_and_of_equal_scores():
    assert triplet_loss(torch.eye(3)) == 0
    assert triplet_loss(torch.zeros(3, 3)) > 0
