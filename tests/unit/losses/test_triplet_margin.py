import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.losses import (
    LossInputs,
    TripletMarginLoss,
    triplet_margin_loss,
)

PAIRS = torch.eye(3, dtype=torch.bool)
SCORES = torch.tensor([[0.6, 0.5, 0.1], [0.6, 0.5, 0.3], [0.0, 0.6, 0.3]], dtype=torch.float64)


class TestByHand:
    """Hinges of images: (0.1, 0) (0.3, 0) (0, 0.5); of captions, by column: (0.2, 0) (0.2, 0.3) (0, 0.2)."""

    def test_all_negatives(self):
        expected = (0.1 + 0.3 + 0.5 + 0.2 + 0.2 + 0.3 + 0.2) / 12
        assert triplet_margin_loss(SCORES, PAIRS, 0.2, 0.0).item() == pytest.approx(expected)

    def test_hardest_negative(self):
        expected = (0.1 + 0.3 + 0.5 + 0.2 + 0.3 + 0.2) / 6
        assert triplet_margin_loss(SCORES, PAIRS, 0.2, 1.0).item() == pytest.approx(expected)

    def test_between_is_a_linear_blend(self):
        easy, hard = (triplet_margin_loss(SCORES, PAIRS, 0.2, hardness).item() for hardness in (0.0, 1.0))
        assert triplet_margin_loss(SCORES, PAIRS, 0.2, 0.25).item() == pytest.approx(0.75 * easy + 0.25 * hard)

    def test_other_positives_are_masked_out(self):
        positives = PAIRS.clone()
        positives[2, 1] = positives[1, 2] = True  # takes 0.5 and 0 from the images, 0.3 and 0.2 from the captions
        easy = (0.1 / 2 + 0.3 + 0 + 0.2 / 2 + 0.2 + 0) / 6
        hard = (0.1 + 0.3 + 0 + 0.2 + 0.2 + 0) / 6
        assert triplet_margin_loss(SCORES, positives, 0.2, 0.0).item() == pytest.approx(easy)
        assert triplet_margin_loss(SCORES, positives, 0.2, 1.0).item() == pytest.approx(hard)

    def test_means_divide_by_the_negatives_of_each_row_and_column(self):
        positives = PAIRS.clone()
        positives[1, 2] = True  # image 1 keeps one negative of 0.3, caption 2 one of 0
        expected = (0.1 / 2 + 0.3 + 0.5 / 2 + 0.2 / 2 + (0.2 + 0.3) / 2 + 0) / 6
        assert triplet_margin_loss(SCORES, positives, 0.2, 0.0).item() == pytest.approx(expected)

    def test_pairs_ahead_by_the_margin_have_zero_loss(self):
        assert triplet_margin_loss(torch.eye(4), torch.eye(4, dtype=torch.bool), 0.2, 0.5).item() == 0


@pytest.mark.parametrize("hardness", [0.0, 0.4, 1.0])
class TestGradient:
    def test_gradcheck(self, hardness):
        scores = torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        positives = torch.eye(5, dtype=torch.bool)
        positives[0, 3] = positives[3, 0] = True
        assert torch.autograd.gradcheck(lambda s: triplet_margin_loss(s, positives, 0.2, hardness), scores)

    def test_other_positives_get_no_gradient(self, hardness):
        scores = torch.full((4, 4), 0.5)
        scores[0, 2] = 0.9  # would be the hardest negative of its row and its column
        scores.requires_grad_()
        positives = torch.eye(4, dtype=torch.bool)
        positives[0, 2] = True
        triplet_margin_loss(scores, positives, 0.2, hardness).backward()
        assert scores.grad[0, 2] == 0
        assert scores.grad[1, 0] > 0


@pytest.mark.parametrize("hardness", [0.0, 1.0])
def test_scale_does_not_depend_on_the_batch_size(hardness):
    """If all negatives have the same score, the loss is one hinge at any batch size."""
    for size in (2, 16, 64):
        scores = torch.full((size, size), 0.4) + 0.1 * torch.eye(size)
        loss = triplet_margin_loss(scores, torch.eye(size, dtype=torch.bool), 0.2, hardness)
        assert loss.item() == pytest.approx(0.1, abs=1e-6)


class TestWithoutNegatives:
    def test_one_pair(self):
        scores = torch.tensor([[0.3]], requires_grad=True)
        loss = triplet_margin_loss(scores, torch.tensor([[True]]), 0.2, 0.5)
        loss.backward()
        assert loss.item() == 0
        assert scores.grad.item() == 0

    def test_anchor_without_negatives_adds_zero(self):
        positives = torch.tensor([[True, True], [False, True]])  # image 0 and caption 1 have no negative
        assert triplet_margin_loss(torch.zeros(2, 2), positives, 0.2, 0.0).item() == pytest.approx(0.1)


class TestModule:
    def test_equals_the_function(self):
        result = TripletMarginLoss(margin=0.3, hard_negatives=0.5)(LossInputs(SCORES, PAIRS))
        assert torch.equal(result.total, triplet_margin_loss(SCORES, PAIRS, 0.3, 0.5))
        assert torch.equal(result.terms["triplet"], result.total)
        assert result.values == {}

    def test_margin_below_zero(self):
        with pytest.raises(ConfigError, match=r"margin=-0\.1 is outside \[0, inf\]"):
            TripletMarginLoss(margin=-0.1)

    def test_hard_negatives_above_one(self):
        with pytest.raises(ConfigError, match=r"hard_negatives=2 is outside \[0, 1\]"):
            TripletMarginLoss(hard_negatives=2)
