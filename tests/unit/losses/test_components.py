import math

import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.losses import LogitScale
from tangka_match.losses.components import check_range


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_check_range_names_setting_value_and_range(value):
    with pytest.raises(ConfigError, match=rf"share={value} is outside \[0, 1\]: a share"):
        check_range("share", value, 0.0, 1.0, "a share")


def test_check_range_refuses_infinity_without_an_upper_bound():
    with pytest.raises(ConfigError, match="share=inf"):
        check_range("share", float("inf"), 0.0, float("inf"), "a share")


def test_logit_scale_starts_at_one_over_temperature():
    assert LogitScale(0.07)().item() == pytest.approx(1 / 0.07, rel=1e-5)


def test_logit_scale_is_learnt_as_a_logarithm():
    scale = LogitScale(0.1)
    scale().backward()
    assert scale.log_scale.grad.item() == pytest.approx(10.0, rel=1e-5)  # d exp(x) / dx


class TestCeilingOfLogitScale:
    def test_clamps_scale_and_parameter(self):
        scale = LogitScale(0.1, min_temperature=0.05)
        with torch.no_grad():
            scale.log_scale.fill_(10.0)
        assert scale().item() == pytest.approx(20.0, rel=1e-5)
        assert scale.log_scale.item() == pytest.approx(math.log(20.0))

    def test_clamped_parameter_has_a_gradient_and_can_decrease(self):
        scale = LogitScale(0.1, min_temperature=0.05)
        with torch.no_grad():
            scale.log_scale.fill_(10.0)
        optimiser = torch.optim.SGD(scale.parameters(), lr=0.01)
        scale().backward()
        optimiser.step()
        assert scale().item() < 20.0

    def test_two_calls_in_one_step(self):
        scale = LogitScale(0.1, min_temperature=0.05)
        with torch.no_grad():
            scale.log_scale.fill_(10.0)
        (scale() + scale()).backward()
        assert scale.log_scale.grad.item() == pytest.approx(40.0, rel=1e-5)

    def test_evaluation_does_not_clamp_the_parameter(self):
        scale = LogitScale(0.1, min_temperature=0.05).eval()
        with torch.no_grad():
            scale.log_scale.fill_(10.0)
        assert scale().item() == pytest.approx(20.0, rel=1e-5)
        assert scale.log_scale.item() == 10.0


def test_logit_scale_of_a_half_precision_parameter_is_float32():
    assert LogitScale(0.1).half()().dtype == torch.float32


def test_temperature_below_its_minimum_is_refused():
    with pytest.raises(ConfigError, match=r"temperature=0\.01 is outside \[0\.02, inf\]"):
        LogitScale(0.01, min_temperature=0.02)


def test_min_temperature_of_zero_is_refused():
    with pytest.raises(ConfigError, match=r"min_temperature=0 is outside \[0\.0001, 100\]"):
        LogitScale(0.1, min_temperature=0)
