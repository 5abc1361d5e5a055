import pytest
import torch

from helpers.pair_contexts import at_progress
from tangka_match.errors import ConfigError
from tangka_match.losses import (
    CurriculumLoss,
    LossInputs,
    info_nce_loss,
    triplet_margin_loss,
)

PAIRS = torch.eye(6, dtype=torch.bool)
SCORES = torch.rand(6, 6, generator=torch.Generator().manual_seed(3))
INPUTS = LossInputs(SCORES, PAIRS)


def test_total_is_the_weighted_sum_with_scheduled_settings():
    loss = CurriculumLoss(
        triplet_weight=[0.0, 2.0],
        info_nce_weight=[1.0, 0.5],
        hard_negatives=[0.0, 1.0],
        margin=[0.1, 0.3],
        temperature=[0.2, 0.1],
        begin=0.0,
        until=0.8,
        label_smoothing=0.1,
    )
    triplet = triplet_margin_loss(SCORES, PAIRS, 0.2, 0.5)
    info_nce = info_nce_loss(SCORES, PAIRS, 1 / 0.15, 0.1)
    result = at_progress(loss, 0.4)(INPUTS)
    torch.testing.assert_close(result.total, triplet + 0.75 * info_nce)
    torch.testing.assert_close(result.terms, {"triplet": triplet, "info_nce": info_nce})
    assert result.values == pytest.approx(
        {"triplet_weight": 1.0, "info_nce_weight": 0.75, "hard_negatives": 0.5, "margin": 0.2, "temperature": 0.15}
    )


def test_numbers_are_constant():
    loss = CurriculumLoss(triplet_weight=1, info_nce_weight=2, hard_negatives=0.5, margin=0.2, temperature=0.1)
    expected = triplet_margin_loss(SCORES, PAIRS, 0.2, 0.5) + 2 * info_nce_loss(SCORES, PAIRS, 10.0)
    for progress in (0.0, 0.3, 1.0):
        torch.testing.assert_close(at_progress(loss, progress)(INPUTS).total, expected)


def test_defaults_reach_the_hardest_negatives_half_way_through_training():
    course = [at_progress(CurriculumLoss(), progress).hard_negatives for progress in (0.0, 0.25, 0.5, 1.0)]
    assert course == pytest.approx([0.0, 0.5, 1.0, 1.0])


def test_cosine_shape_reaches_the_schedules():
    values = at_progress(CurriculumLoss(margin=[0.0, 1.0], until=1.0, shape="cosine"), 0.25)(INPUTS).values
    assert values["margin"] == pytest.approx((1 - 0.5**0.5) / 2)


class TestLearntTemperature:
    def test_starts_at_the_first_value_and_is_not_scheduled(self):
        loss = CurriculumLoss(temperature=[0.1, 0.05], learn_temperature=True)
        assert at_progress(loss, 1.0)(INPUTS).values["temperature"] == pytest.approx(0.1)

    def test_gets_a_gradient_and_shows_its_value(self):
        loss = CurriculumLoss(temperature=0.1, learn_temperature=True)
        optimiser = torch.optim.SGD(loss.parameters(), lr=0.1)
        loss(INPUTS).total.backward()
        optimiser.step()
        assert loss(INPUTS).values["temperature"] != pytest.approx(0.1, rel=1e-4)

    def test_is_off_by_default(self):
        assert not list(CurriculumLoss().parameters())


class TestInvalidSettings:
    @pytest.mark.parametrize(
        ("setting", "value", "message"),
        [
            ("triplet_weight", [1.0, -1.0], r"triplet_weight=-1\.0 is outside \[0, inf\]"),
            ("info_nce_weight", -2, r"info_nce_weight=-2 is outside \[0, inf\]"),
            ("hard_negatives", [0.0, 1.5], r"hard_negatives=1\.5 is outside \[0, 1\]"),
            ("margin", [-0.1, 0.2], r"margin=-0\.1 is outside \[0, inf\]"),
            ("temperature", [0.1, 0.001], r"temperature=0\.001 is outside \[0\.01, inf\]"),
            ("temperature", [0.1, 0.07, 0.05], r"temperature=\[0\.1, 0\.07, 0\.05\] has 3 values"),
            ("until", 1.5, r"begin=0\.0 and until=1\.5"),
            ("shape", "sine", "'sine' is unknown"),
            ("label_smoothing", 1.5, r"label_smoothing=1\.5 is outside"),
        ],
    )
    def test_out_of_range(self, setting, value, message):
        with pytest.raises(ConfigError, match=message):
            CurriculumLoss(**{setting: value})

    @pytest.mark.parametrize(("triplet", "info_nce"), [([0, 1], [0, 1]), ([1, 0], [1, 0])])
    def test_both_weights_zero_at_one_end(self, triplet, info_nce):
        with pytest.raises(ConfigError, match=rf"triplet_weight=\[{triplet[0]}, {triplet[1]}\].*both 0"):
            CurriculumLoss(triplet_weight=triplet, info_nce_weight=info_nce)

    def test_weights_may_be_zero_at_opposite_ends(self):
        loss = CurriculumLoss(triplet_weight=[0, 1], info_nce_weight=[1, 0])
        result = at_progress(loss, 1.0)(INPUTS)
        assert torch.equal(result.total.detach(), result.terms["triplet"])


def test_scale_that_underflows_is_logged_as_infinite_temperature():
    """exp(-200) is 0 in float32."""
    loss = CurriculumLoss(learn_temperature=True)
    loss.logit_scale.log_scale.data.fill_(-200.0)
    assert at_progress(loss, 0.0)(INPUTS).values["temperature"] == float("inf")
