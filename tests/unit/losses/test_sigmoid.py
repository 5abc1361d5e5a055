import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tangka_match.errors import ConfigError
from tangka_match.losses import (
    LossInputs,
    SigmoidLoss,
    sigmoid_loss,
)


def random_scores(size, seed=0):
    return torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_worked_by_hand():
    """Logits 2 s - 1 are (1, -1) and (-1, 0): three entries with logit margin 1, one with 0."""
    scores = torch.tensor([[1.0, 0.0], [0.0, 0.5]], dtype=torch.float64)
    expected = (3 * math.log(1 + math.exp(-1)) + math.log(2)) / 2
    assert sigmoid_loss(scores, torch.eye(2, dtype=torch.bool), 2.0, -1.0).item() == pytest.approx(expected)


def test_equals_torchs_binary_cross_entropy():
    positives = torch.eye(6, dtype=torch.bool)
    positives[0, 4] = True
    expected = binary_cross_entropy_with_logits(3 * random_scores(6) - 2, positives.double(), reduction="sum") / 6
    torch.testing.assert_close(sigmoid_loss(random_scores(6), positives, 3.0, -2.0), expected)


def test_gradcheck():
    scale, bias = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (3.0, -1.0))
    pairs = torch.eye(4, dtype=torch.bool)
    scores = random_scores(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, a, b: sigmoid_loss(s, pairs, a, b), (scores, scale, bias))


def test_large_logits_stay_finite():
    scores = (-torch.eye(4) * 1e4).requires_grad_()
    sigmoid_loss(scores, torch.eye(4, dtype=torch.bool), 100.0, -10.0).backward()
    assert scores.grad.isfinite().all()


@pytest.mark.parametrize("extra", [False, True])
def test_collapse_value_is_the_lowest_loss_of_equal_scores(extra):
    positives = torch.eye(7, dtype=torch.bool)
    positives[0, 4] = positives[4, 0] = extra
    equal = [sigmoid_loss(torch.zeros(7, 7), positives, 1.0, bias).item() for bias in torch.arange(-4, 0, 0.01)]
    assert min(equal) == pytest.approx(SigmoidLoss().collapse_value(LossInputs(torch.rand(7, 7), positives)), rel=1e-4)


def test_collapse_value_without_negatives_is_zero():
    assert SigmoidLoss().collapse_value(LossInputs(torch.rand(2, 2), torch.ones(2, 2, dtype=torch.bool))) == 0


def test_learnt_bias_converges_to_the_collapse_value():
    loss, pairs = SigmoidLoss(bias=-10.0), torch.eye(8, dtype=torch.bool)
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.3)
    for _ in range(100):
        optimiser.zero_grad()
        total = loss(LossInputs(torch.full((8, 8), 0.4), pairs)).total
        total.backward()
        optimiser.step()
    assert total.item() == pytest.approx(loss.collapse_value(LossInputs(torch.rand(8, 8), pairs)), rel=0.01)


def test_temperature_and_bias_are_learnt_and_returned():
    loss = SigmoidLoss(temperature=0.2, bias=-3)
    result = loss(LossInputs(random_scores(4).float(), torch.eye(4, dtype=torch.bool)))
    result.total.backward()
    assert {name for name, p in loss.named_parameters() if p.grad != 0} == {"bias", "logit_scale.log_scale"}
    assert result.values == pytest.approx({"temperature": 0.2, "bias": -3.0})


def test_bias_out_of_range():
    with pytest.raises(ConfigError, match=r"bias=-200 is outside \[-100, 100\]"):
        SigmoidLoss(bias=-200)
