import math

import pytest

from tangka_match.errors import ConfigError
from tangka_match.losses import BlendLoss, CurriculumLoss, InfoNCELoss, Schedule, TripletMarginLoss, apply_schedules


class TestValues:
    def test_linear(self):
        schedule = Schedule(start=1.0, end=3.0, begin=0.2, until=0.6)
        course = [schedule(progress) for progress in (0.0, 0.2, 0.3, 0.4, 0.6, 1.0)]
        assert course == pytest.approx([1.0, 1.0, 1.5, 2.0, 3.0, 3.0])

    def test_cosine(self):
        schedule = Schedule(start=1.0, end=0.0, shape="cosine")
        course = [schedule(progress) for progress in (0.0, 0.25, 0.5, 1.0)]
        assert course == pytest.approx([1.0, (1 + math.sqrt(0.5)) / 2, 0.5, 0.0])

    def test_ends_are_exact(self):
        schedule = Schedule(start=0.1, end=0.7, begin=0.1, until=0.9, shape="cosine")
        assert (schedule(0.1), schedule(0.9)) == (0.1, 0.7)

    def test_begin_equal_to_until_is_a_jump(self):
        schedule = Schedule(start=0, end=1, begin=0.5, until=0.5)
        assert (schedule(0.499), schedule(0.5)) == (0.0, 1.0)

    def test_until_zero_gives_the_end_from_the_first_step(self):
        assert Schedule(start=0, end=1, begin=0, until=0)(0) == 1.0


class TestRead:
    def test_number_is_constant(self):
        schedule = Schedule.read("margin", 2, begin=0.0, until=0.5, shape="linear")
        assert {schedule(progress) for progress in (0, 0.2, 1)} == {2.0}

    def test_pair_is_start_and_end(self):
        schedule = Schedule.read("margin", [0.1, 0.2], begin=0.0, until=0.5, shape="linear")
        assert (schedule(0.0), schedule(0.5)) == (0.1, 0.2)

    def test_three_values_are_refused(self):
        with pytest.raises(ConfigError, match=r"margin=\[0\.1, 0\.2, 0\.3\] has 3 values"):
            Schedule.read("margin", [0.1, 0.2, 0.3], begin=0.0, until=0.5, shape="linear")


class TestInvalid:
    @pytest.mark.parametrize(("begin", "until"), [(-0.1, 0.5), (0.5, 0.2), (0.0, 1.5)])
    def test_interval(self, begin, until):
        with pytest.raises(ConfigError, match=f"begin={begin} and until={until}"):
            Schedule(start=0.0, end=1.0, begin=begin, until=until)

    def test_shape(self):
        with pytest.raises(ConfigError, match="'step' is unknown; choose one of linear, cosine"):
            Schedule(start=0.0, end=1.0, shape="step")

    def test_not_finite(self):
        with pytest.raises(ConfigError, match=r"from nan to 1\.0 is not finite"):
            Schedule(start=math.nan, end=1.0)


class TestApplySchedules:
    def test_schedules_of_nested_losses_are_applied(self):
        blend = BlendLoss(
            {"c": CurriculumLoss(margin=[0.0, 1.0], until=1.0), "n": InfoNCELoss()}, {"c": [1, 0], "n": 1}
        )
        assert (blend.c_weight, blend.parts["c"].margin) == (1.0, 0.0)
        apply_schedules(blend, 0.25)
        assert (blend.c_weight, blend.n_weight, blend.parts["c"].margin) == (0.75, 1.0, 0.25)

    def test_loss_without_schedules_is_not_changed(self):
        loss = TripletMarginLoss(0.3, 0.5)
        apply_schedules(loss, 0.5)
        assert (loss.margin, loss.hard_negatives) == (0.3, 0.5)
