import math

import pytest
import torch

from tangka_match.ops import sinusoidal_positions


def test_every_component_is_the_formula():
    codes = sinusoidal_positions(50, 6)
    for place in (0, 1, 49):
        for j in range(3):
            angle = place / 10_000 ** (2 * j / 6)
            assert codes[place, 2 * j].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert codes[place, 2 * j + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_an_odd_number_of_components():
    assert torch.equal(sinusoidal_positions(4, 5)[:, :4].isfinite(), torch.ones(4, 4, dtype=torch.bool))
    assert sinusoidal_positions(4, 5)[0].tolist() == [0, 1, 0, 1, 0]
