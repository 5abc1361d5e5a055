import math

import pytest
import torch

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.losses import (
    CurriculumLoss,
    HALLoss,
    InfoNCELoss,
    LogitScale,
    MatchingLoss,
    MultiPositiveInfoNCELoss,
    SigmoidLoss,
    TripletMarginLoss,
    positive_mask,
)
from tangka_match.losses.base import check_range, working_precision

SHIFT_INVARIANT = [TripletMarginLoss, InfoNCELoss, MultiPositiveInfoNCELoss, CurriculumLoss]
LOSSES = [*SHIFT_INVARIANT, SigmoidLoss, HALLoss]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.usefixtures("as_users_run")
class TestMatrices:
    def test_not_square(self, loss):
        with pytest.raises(ShapeError, match=r"similarity is \(3, 4\)"):
            loss()(torch.zeros(3, 4), torch.eye(3, 4, dtype=torch.bool))

    def test_empty(self, loss):
        with pytest.raises(ShapeError, match=r"similarity is \(0, 0\)"):
            loss()(torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.bool))

    def test_mask_of_another_batch(self, loss):
        with pytest.raises(ShapeError, match=r"positives is \(2, 2\) but similarity is \(3, 3\)"):
            loss()(torch.zeros(3, 3), torch.eye(2, dtype=torch.bool))

    def test_mask_upside_down(self, loss):
        mask = torch.eye(3, dtype=torch.bool)
        mask[1, 1] = False
        with pytest.raises(ShapeError, match=r"positives \(3, 3\) is False on the diagonal at row 1"):
            loss()(torch.zeros(3, 3), mask)


@pytest.mark.parametrize("loss", LOSSES)
class TestInterface:
    def test_satisfies_the_protocol(self, loss):
        assert isinstance(loss(), MatchingLoss)

    def test_terms_are_detached_scalars_and_the_total_is_not(self, loss):
        scores = torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        result = loss()(scores, torch.eye(4, dtype=torch.bool), progress=0.3)
        assert result.total.requires_grad
        assert result.total.shape == ()
        assert result.terms
        assert all(term.shape == () and not term.requires_grad for term in result.terms.values())
        assert all(isinstance(value, float) for value in result.values.values())

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, loss, dtype):
        scores = torch.rand(6, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
        positives = torch.eye(6, dtype=torch.bool)
        half = loss()(scores, positives).total
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, loss()(scores.float(), positives).total)

    def test_autocast_changes_nothing(self, loss):
        scores = torch.rand(6, 6, generator=torch.Generator().manual_seed(2))
        positives = torch.eye(6, dtype=torch.bool)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            under_autocast = loss()(scores, positives).total
        assert torch.equal(under_autocast, loss()(scores, positives).total)


@pytest.mark.parametrize("loss", SHIFT_INVARIANT)
class TestCollapse:
    """Where one score for all is as good as another; the others are in the files of their losses."""

    def test_collapse_value_is_the_loss_of_equal_scores(self, loss):
        positives = torch.eye(5, dtype=torch.bool)
        positives[0, 1] = positives[1, 0] = True
        for progress in (0.0, 0.25, 1.0):
            loss_now = loss()(torch.full((5, 5), 0.3), positives, progress).total.item()
            assert loss_now == pytest.approx(loss().collapse_value(positives, progress), rel=1e-5)

    def test_collapse_value_counts_anchors_without_negatives(self, loss):
        positives = torch.eye(3, dtype=torch.bool)
        positives[0, :] = True  # image 0 fits every caption and has no negative
        loss_now = loss()(torch.zeros(3, 3), positives).total.item()
        assert loss_now == pytest.approx(loss().collapse_value(positives), rel=1e-5)


def test_working_precision_leaves_double_alone():
    assert working_precision(torch.zeros(2, 2, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_check_range_names_setting_value_and_range(value):
    with pytest.raises(ConfigError, match=rf"share={value} is outside \[0, 1\]: a share"):
        check_range("share", value, 0.0, 1.0, "a share")


def test_check_range_refuses_infinity_without_an_upper_bound():
    with pytest.raises(ConfigError, match="share=inf"):
        check_range("share", float("inf"), 0.0, float("inf"), "a share")


def test_starts_at_one_over_temperature():
    assert LogitScale(0.07)().item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_is_learnt_as_a_logarithm():
    scale = LogitScale(0.1)
    scale().backward()
    assert scale.log_scale.grad.item() == pytest.approx(10.0, rel=1e-5)  # d exp(x) / dx


class TestCeiling:
    def test_holds(self):
        scale = LogitScale(0.1, min_temperature=0.05)
        with torch.no_grad():
            scale.log_scale.fill_(10.0)
        assert scale().item() == pytest.approx(20.0, rel=1e-5)
        assert scale.log_scale.item() == pytest.approx(math.log(20.0))

    def test_can_be_left_again(self):
        scale = LogitScale(0.1, min_temperature=0.05)
        with torch.no_grad():
            scale.log_scale.fill_(10.0)
        optimiser = torch.optim.SGD(scale.parameters(), lr=0.01)
        scale().backward()
        optimiser.step()
        assert scale().item() < 20.0

    def test_two_readings_in_one_step(self):
        scale = LogitScale(0.1, min_temperature=0.05)
        with torch.no_grad():
            scale.log_scale.fill_(10.0)
        (scale() + scale()).backward()
        assert scale.log_scale.grad.item() == pytest.approx(40.0, rel=1e-5)

    def test_evaluation_leaves_the_parameter_alone(self):
        scale = LogitScale(0.1, min_temperature=0.05).eval()
        with torch.no_grad():
            scale.log_scale.fill_(10.0)
        assert scale().item() == pytest.approx(20.0, rel=1e-5)
        assert scale.log_scale.item() == 10.0


def test_half_precision_parameter_gives_float32():
    assert LogitScale(0.1).half()().dtype == torch.float32


def test_temperature_below_its_floor():
    with pytest.raises(ConfigError, match=r"temperature=0\.01 is outside \[0\.02, inf\]"):
        LogitScale(0.01, min_temperature=0.02)


def test_floor_of_zero():
    with pytest.raises(ConfigError, match=r"min_temperature=0 is outside \[0\.0001, 100\]"):
        LogitScale(0.1, min_temperature=0)


def test_same_image_or_same_text():
    mask = positive_mask(torch.tensor([7, 7, 2, 5]), torch.tensor([0, 3, 3, 9]))
    assert mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_all_different_is_the_diagonal():
    assert torch.equal(positive_mask(torch.arange(5), torch.arange(5)), torch.eye(5, dtype=torch.bool))


def test_image_numbers_and_text_numbers_are_not_compared():
    assert not positive_mask(torch.tensor([1, 2]), torch.tensor([2, 1]))[0, 1]


@pytest.mark.usefixtures("as_users_run")
def test_lengths_differ():
    with pytest.raises(ShapeError, match=r"image_index is \(3,\) but text_group is \(2,\)"):
        positive_mask(torch.arange(3), torch.arange(2))
