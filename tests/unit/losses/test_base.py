import math

import pytest
import torch

from helpers.pair_contexts import at_progress, random_context
from tangka_match.errors import ConfigError, ShapeError
from tangka_match.losses import (
    CurriculumLoss,
    HALLoss,
    InfoNCELoss,
    LossInputs,
    LossTerms,
    MultiPositiveInfoNCELoss,
    SigmoidLoss,
    SoftLabelLoss,
    TripletMarginLoss,
    collapse_value,
    positive_mask,
)

LOSSES = [TripletMarginLoss, InfoNCELoss, MultiPositiveInfoNCELoss, CurriculumLoss, SigmoidLoss, HALLoss]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.usefixtures("without_shape_checks")
class TestInvalidInputs:
    def test_matrix_that_is_not_square(self, loss):
        with pytest.raises(ShapeError, match=r"similarity is \(3, 4\)"):
            loss()(LossInputs(torch.zeros(3, 4), torch.eye(3, 4, dtype=torch.bool)))

    def test_empty_batch(self, loss):
        with pytest.raises(ShapeError, match=r"similarity is \(0, 0\)"):
            loss()(LossInputs(torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.bool)))

    def test_mask_of_another_batch(self, loss):
        with pytest.raises(ShapeError, match=r"positives is \(2, 2\) but similarity is \(3, 3\)"):
            loss()(LossInputs(torch.zeros(3, 3), torch.eye(2, dtype=torch.bool)))

    def test_inverted_mask(self, loss):
        mask = torch.eye(3, dtype=torch.bool)
        mask[1, 1] = False
        with pytest.raises(ShapeError, match=r"positives \(3, 3\) is False on the diagonal at row 1"):
            loss()(LossInputs(torch.zeros(3, 3), mask))


@pytest.mark.parametrize("loss", LOSSES)
class TestContract:
    def test_terms_are_detached_scalars_and_the_total_has_a_gradient(self, loss):
        scores = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        result = at_progress(loss(), 0.3)(LossInputs(scores, torch.eye(4, dtype=torch.bool)))
        assert result.total.requires_grad
        assert result.total.shape == ()
        assert result.terms
        assert all(term.shape == () and not term.requires_grad for term in result.terms.values())
        assert all(isinstance(v, float) or (v.shape == () and not v.requires_grad) for v in result.values.values())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, loss, dtype):
        scores = torch.rand(6, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
        positives = torch.eye(6, dtype=torch.bool)
        half = loss()(LossInputs(scores, positives)).total
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, loss()(LossInputs(scores.float(), positives)).total)

    def test_autocast_does_not_change_the_loss(self, loss):
        scores = torch.rand(6, 6, generator=torch.Generator().manual_seed(2))
        positives = torch.eye(6, dtype=torch.bool)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast = loss()(LossInputs(scores, positives)).total
        assert torch.equal(under_autocast, loss()(LossInputs(scores, positives)).total)


class TestCollapseValue:
    """Loss of equal scores; losses with a method of their own are tested in their files."""

    POSITIVES = positive_mask(torch.tensor([0, 0, 1, 2, 3]), torch.arange(5))  # captions 0 and 1 share an image

    @pytest.mark.parametrize(
        ("loss", "expected"),
        [
            (TripletMarginLoss(0.35), 0.35),
            (InfoNCELoss(label_smoothing=0.1), (2 * math.log(4) + 3 * math.log(5)) / 5),
            (MultiPositiveInfoNCELoss(), math.log(5)),
            (SoftLabelLoss(), math.log(5)),
            (CurriculumLoss(margin=0.4), 0.5 * 0.4 + (2 * math.log(4) + 3 * math.log(5)) / 5),
        ],
    )
    def test_is_the_loss_of_a_constant_matrix(self, loss, expected):
        inputs = LossInputs(torch.rand(5, 5), self.POSITIVES, random_context(5))
        assert collapse_value(loss, inputs) == pytest.approx(expected, rel=1e-5)

    def test_counts_anchors_without_negatives(self):
        positives = torch.eye(3, dtype=torch.bool)
        positives[0, :] = True  # image 0 matches every caption and has no negative
        inputs = LossInputs(torch.rand(3, 3), positives)
        assert collapse_value(TripletMarginLoss(0.3), inputs) == pytest.approx(0.3 * 5 / 6)

    def test_follows_the_schedule(self):
        loss = at_progress(CurriculumLoss(triplet_weight=[0.0, 2.0], info_nce_weight=[1.0, 0.0], margin=0.2), 1.0)
        assert collapse_value(loss, LossInputs(torch.rand(4, 4), torch.eye(4, dtype=torch.bool))) == pytest.approx(0.4)

    def test_does_not_clamp_a_learnt_logit_scale(self):
        loss = InfoNCELoss()
        loss.logit_scale.log_scale.data.fill_(10.0)
        collapse_value(loss, LossInputs(torch.rand(4, 4), torch.eye(4, dtype=torch.bool)))
        assert loss.logit_scale.log_scale.item() == 10.0


def test_loss_that_reads_the_context_is_refused_without_one():
    with pytest.raises(ConfigError, match=r"loss SoftLabelLoss reads .* LossInputs\.context is None; pass"):
        SoftLabelLoss()(LossInputs(torch.rand(3, 3), torch.eye(3, dtype=torch.bool)))


class TestGradientShares:
    def test_worked_by_hand(self):
        """Gradients (3, 4), of norm 5, and (0, -15): 25 % and 75 %, although they oppose each other."""
        scores = torch.zeros(2, requires_grad=True)
        parts = {"a": 3 * scores[0] + 4 * scores[1], "b": -15 * scores[1]}
        assert shares(parts, scores) == pytest.approx({"a": 25.0, "b": 75.0})

    def test_part_without_gradient_has_share_zero(self):
        scores = torch.zeros(2, requires_grad=True)
        assert shares({"a": scores[0], "b": 0 * scores[1]}, scores) == {"a": 100.0, "b": 0.0}
        assert shares({"a": 0 * scores[0], "b": 0 * scores[1]}, scores) == {"a": 0.0, "b": 0.0}

    def test_shares_use_the_current_weights(self):
        scores = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        inputs = LossInputs(scores, torch.eye(4, dtype=torch.bool))
        loss = CurriculumLoss(triplet_weight=[0.0, 1.0], info_nce_weight=[1.0, 0.0], begin=0.0, until=1.0)
        start, middle, end = (at_progress(loss, p)(inputs).gradient_shares([scores]) for p in (0.0, 0.5, 1.0))
        assert start == {"triplet": 0.0, "info_nce": 100.0}
        assert end == {"triplet": 100.0, "info_nce": 0.0}
        assert 0 < middle["triplet"] < 100


def shares(parts, scores):
    return LossTerms(sum(parts.values()), {}, {}, parts).gradient_shares([scores])


def test_positive_mask_marks_same_image_or_same_text():
    mask = positive_mask(torch.tensor([7, 7, 2, 5]), torch.tensor([0, 3, 3, 9]))
    assert mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_positive_mask_of_distinct_pairs_is_the_diagonal():
    assert torch.equal(positive_mask(torch.arange(5), torch.arange(5)), torch.eye(5, dtype=torch.bool))


def test_positive_mask_does_not_compare_images_with_texts():
    assert not positive_mask(torch.tensor([1, 2]), torch.tensor([2, 1]))[0, 1]


@pytest.mark.usefixtures("without_shape_checks")
def test_positive_mask_refuses_different_lengths():
    with pytest.raises(ShapeError, match=r"image_index is \(3,\) but text_group is \(2,\)"):
        positive_mask(torch.arange(3), torch.arange(2))
