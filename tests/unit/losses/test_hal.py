import math

import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.losses import (
    HALLoss,
    LossInputs,
    hal_loss,
)


def random_scores(size, seed=0):
    return torch.rand(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_worked_by_hand():
    """Negatives 0.5 and 0.3 with gamma 10 and epsilon 0.3: exp(2) and 1, once per row and once per column."""
    scores = torch.tensor([[0.8, 0.5], [0.3, 0.6]], dtype=torch.float64)
    expected = 2 * (math.log(1 + math.exp(2)) + math.log(2)) / 10 - math.log(1.8) - math.log(1.6)
    assert hal_loss(scores, torch.eye(2, dtype=torch.bool), 10.0, 0.3).item() == pytest.approx(expected / 2)


def test_hub_gets_a_gradient_from_every_close_caption():
    scores = torch.full((6, 6), 0.1) + 0.5 * torch.eye(6)
    scores[0, 1:] = 0.5
    scores.requires_grad_()
    hal_loss(scores, torch.eye(6, dtype=torch.bool), 30.0, 0.3).backward()
    assert (scores.grad[0, 1:] > 10 * scores.grad[2, 3]).all()


def test_other_positives_get_no_gradient():
    scores = random_scores(4).requires_grad_()
    positives = torch.eye(4, dtype=torch.bool)
    positives[0, 2] = True
    hal_loss(scores, positives, 30.0, 0.3).backward()
    assert scores.grad[0, 2] == 0
    assert scores.grad[2, 0] > 0


def test_pair_below_zero_keeps_a_gradient():
    scores = torch.full((3, 3), -0.2, requires_grad=True)
    hal_loss(scores, torch.eye(3, dtype=torch.bool), 30.0, 0.3).backward()
    assert (scores.grad.diagonal() < -0.3).all()


@pytest.mark.parametrize("shift", [0.0, -0.5])
def test_gradcheck(shift):
    positives = torch.eye(5, dtype=torch.bool)
    positives[1, 3] = True
    scores = (random_scores(5) + shift).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: hal_loss(s, positives, 5.0, 0.3), scores)


def test_scores_far_above_the_threshold_stay_finite():
    scores = (torch.ones(4, 4) * 1e4).requires_grad_()
    hal_loss(scores, torch.eye(4, dtype=torch.bool), 1000.0, 0.3).backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize(("gamma", "epsilon"), [(30.0, 0.3), (60.0, 0.7), (2.0, -0.5), (5.0, 1.0)])
@pytest.mark.parametrize("size", [1, 2, 60])
def test_collapse_value_is_the_lowest_loss_of_equal_scores(gamma, epsilon, size):
    positives = torch.eye(size, dtype=torch.bool)
    positives[0, size // 2] = True
    equal = [
        hal_loss(torch.full((size, size), score), positives, gamma, epsilon).item()
        for score in torch.linspace(-3, 1, 4001).tolist()
    ]
    found = HALLoss(gamma, epsilon).collapse_value(LossInputs(torch.rand(size, size), positives))
    assert min(equal) == pytest.approx(found, abs=1e-4)


def test_module_equals_the_function():
    scores, pairs = random_scores(4), torch.eye(4, dtype=torch.bool)
    assert torch.equal(HALLoss(40, 0.2)(LossInputs(scores, pairs)).total, hal_loss(scores, pairs, 40.0, 0.2))


@pytest.mark.parametrize(("setting", "value", "span"), [("gamma", 0, r"\[0\.1, 1000\]"), ("epsilon", 2, r"\[-1, 1\]")])
def test_out_of_range(setting, value, span):
    with pytest.raises(ConfigError, match=rf"{setting}={value} is outside {span}"):
        HALLoss(**{setting: value})
