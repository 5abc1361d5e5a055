import math

import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.losses import (
    LossInputs,
    MultiPositiveInfoNCELoss,
    info_nce_loss,
    multi_positive_info_nce_loss,
)


def random_scores(size, seed=0):
    return torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_worked_by_hand():
    """Image 0 matches both captions, so its target is one half each; caption 1 matches both images."""
    scores = torch.tensor([[1.0, 0.0], [0.5, 2.0]], dtype=torch.float64)
    positives = torch.tensor([[True, True], [False, True]])
    first = math.log(math.e + 1) - 0.5  # (1, 0) against a half each
    second = math.log(1 + math.exp(-1.5))  # (0.5, 2) against caption 1
    column = math.log(1 + math.exp(-0.5))  # (1, 0.5) against image 0
    last = math.log(1 + math.e**2) - 1.0  # (0, 2) against a half each
    loss = multi_positive_info_nce_loss(scores, positives, 1.0)
    assert loss.item() == pytest.approx((first + second + column + last) / 4)


def test_equals_info_nce_if_only_the_diagonal_is_positive():
    pairs = torch.eye(6, dtype=torch.bool)
    expected = info_nce_loss(random_scores(6), pairs, 4.0)
    torch.testing.assert_close(multi_positive_info_nce_loss(random_scores(6), pairs, 4.0), expected)


def test_gradient_raises_positives_and_lowers_negatives():
    scores = torch.zeros(4, 4, requires_grad=True)
    positives = torch.eye(4, dtype=torch.bool)
    positives[0, 2] = positives[2, 0] = True
    multi_positive_info_nce_loss(scores, positives, 1.0).backward()
    assert scores.grad[0, 2] < 0
    assert scores.grad[0, 1] > 0


def test_gradcheck():
    positives = torch.eye(5, dtype=torch.bool)
    positives[0, 3] = positives[3, 0] = positives[1, 3] = True
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    scores = random_scores(5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s, a: multi_positive_info_nce_loss(s, positives, a), (scores, scale))


def test_module_divides_by_the_temperature():
    scores, positives = random_scores(4).float(), torch.eye(4, dtype=torch.bool)
    result = MultiPositiveInfoNCELoss(temperature=0.25, learn_temperature=False)(LossInputs(scores, positives))
    torch.testing.assert_close(result.total, multi_positive_info_nce_loss(scores, positives, 4.0))
    assert result.values["temperature"] == pytest.approx(0.25)


def test_temperature_below_its_minimum_is_refused():
    with pytest.raises(ConfigError, match=r"temperature=0\.001 is outside \[0\.01, inf\]"):
        MultiPositiveInfoNCELoss(temperature=0.001)
