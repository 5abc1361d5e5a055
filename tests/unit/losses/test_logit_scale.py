import math

import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.losses import LogitScale


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
