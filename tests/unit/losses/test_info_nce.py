import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from tangka_match.errors import ConfigError
from tangka_match.losses import (
    InfoNCELoss,
    LossInputs,
    info_nce_loss,
)


def random_scores(size, seed=0):
    return torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class TestByHand:
    def test_two_pairs(self):
        scores = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
        images = math.log(1 + math.exp(-2.0)) + math.log(2)  # at scale 2: (2, 0) and (1, 1)
        captions = math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(-1.0))  # (2, 1) and (0, 1)
        loss = info_nce_loss(scores, torch.eye(2, dtype=torch.bool), 2.0)
        assert loss.item() == pytest.approx((images + captions) / 4)

    def test_pair_losses_of_two_pairs(self):
        scores = torch.tensor([[1.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
        first = (math.log(1 + math.exp(-2.0)) + math.log(1 + math.exp(-1.0))) / 2
        second = (math.log(2) + math.log(1 + math.exp(-1.0))) / 2
        losses = InfoNCELoss(0.5).double().pair_losses(LossInputs(scores, torch.eye(2, dtype=torch.bool)))
        assert losses.tolist() == pytest.approx([first, second])

    def test_other_positives_are_masked_out(self):
        scores = torch.tensor([[0.0, 9.0, 0.0], [9.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
        positives = torch.eye(3, dtype=torch.bool)
        positives[0, 1] = positives[1, 0] = True  # rows and columns 0 and 1 keep two candidates, 2 keeps three
        expected = (4 * math.log(2) + 2 * math.log(3)) / 6
        assert info_nce_loss(scores, positives, 1.0).item() == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
class TestAgainstTorch:
    def test_only_the_diagonal_positive(self, smoothing):
        """If every caption is a candidate, it is torch's cross entropy in both directions."""
        logits, target = random_scores(7) * 5, torch.arange(7)
        images = cross_entropy(logits, target, label_smoothing=smoothing)
        captions = cross_entropy(logits.T, target, label_smoothing=smoothing)
        loss = info_nce_loss(random_scores(7), torch.eye(7, dtype=torch.bool), 5.0, smoothing)
        torch.testing.assert_close(loss, (images + captions) / 2)

    def test_masked_entry_equals_a_smaller_matrix(self, smoothing):
        scores, positives = random_scores(4), torch.eye(4, dtype=torch.bool)
        positives[1, 2] = True
        target = torch.arange(4)
        row = cross_entropy(scores[1][[0, 1, 3]], torch.tensor(1), label_smoothing=smoothing)
        column = cross_entropy(scores[:, 2][[0, 2, 3]], torch.tensor(1), label_smoothing=smoothing)
        rows = cross_entropy(scores, target, reduction="none", label_smoothing=smoothing)
        columns = cross_entropy(scores.T, target, reduction="none", label_smoothing=smoothing)
        rows[1], columns[2] = row, column
        loss = info_nce_loss(scores, positives, 1.0, smoothing)
        torch.testing.assert_close(loss, torch.cat([rows, columns]).mean())

    def test_loss_is_the_mean_of_the_pair_losses(self, smoothing):
        positives = torch.eye(6, dtype=torch.bool)
        positives[1, 2] = positives[2, 1] = positives[3, 0] = True
        loss = InfoNCELoss(0.2, label_smoothing=smoothing)
        losses = loss.pair_losses(LossInputs(random_scores(6), positives))
        assert losses.shape == (6,)
        total = loss(LossInputs(random_scores(6), positives)).total
        torch.testing.assert_close(losses.mean(), total)
        (losses.mean() + total).backward()  # a learnt temperature has both gradients

    def test_gradcheck(self, smoothing):
        positives = torch.eye(5, dtype=torch.bool)
        positives[0, 3] = positives[3, 0] = True
        scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda s, a: info_nce_loss(s, positives, a, smoothing), (random_scores(5).requires_grad_(), scale)
        )

    def test_other_positives_get_no_gradient(self, smoothing):
        scores = random_scores(4).requires_grad_()
        positives = torch.eye(4, dtype=torch.bool)
        positives[0, 2] = True
        info_nce_loss(scores, positives, 10.0, smoothing).backward()
        assert scores.grad[0, 2] == 0
        assert scores.grad[2, 0] != 0
        assert scores.grad.isfinite().all()


def test_loss_of_one_pair_is_zero():
    assert info_nce_loss(torch.tensor([[0.3]]), torch.tensor([[True]]), 10.0, 0.1).item() == 0


@pytest.mark.parametrize("size", [2, 8, 100])
def test_loss_of_equal_scores_is_the_log_of_the_batch_size(size):
    pairs = torch.eye(size, dtype=torch.bool)
    assert info_nce_loss(torch.full((size, size), 0.7), pairs, 20.0, 0.1).item() == pytest.approx(math.log(size))


def test_large_logits_stay_finite():
    scores = (torch.eye(4) * 1e4).requires_grad_()
    loss = info_nce_loss(-scores, torch.eye(4, dtype=torch.bool), 100.0)
    loss.backward()
    assert loss.isfinite()
    assert scores.grad.isfinite().all()


class TestModule:
    def test_temperature_divides(self):
        scores, pairs = random_scores(4).float(), torch.eye(4, dtype=torch.bool)
        result = InfoNCELoss(temperature=0.25, label_smoothing=0.1)(LossInputs(scores, pairs))
        torch.testing.assert_close(result.total, info_nce_loss(scores / 0.25, pairs, 1.0, 0.1))
        assert result.values["temperature"] == pytest.approx(0.25)

    def test_learnt_temperature_is_the_only_parameter_and_gets_a_gradient(self):
        loss = InfoNCELoss()
        loss(LossInputs(random_scores(4).float(), torch.eye(4, dtype=torch.bool))).total.backward()
        assert [name for name, _ in loss.named_parameters()] == ["logit_scale.log_scale"]
        assert loss.logit_scale.log_scale.grad != 0

    def test_constant_temperature_is_not_learnt(self):
        assert not any(parameter.requires_grad for parameter in InfoNCELoss(learn_temperature=False).parameters())

    @pytest.mark.parametrize("value", [-0.1, 1])
    def test_label_smoothing_out_of_range(self, value):
        with pytest.raises(ConfigError, match=rf"label_smoothing={value} is outside \[0, 0\.999\]"):
            InfoNCELoss(label_smoothing=value)
