import logging
from types import SimpleNamespace

import pytest
import torch

from tangka_match.training.callbacks import ValidationLines

METRICS = {
    "train/loss": 0.41234,
    "val/loss": 0.5,
    "val/i2t_r1": 37.466,
    "val/i2t_r5": 80.0,
    "val/i2t_r10": 91.5,
    "val/t2i_r1": 36.0,
    "val/t2i_r5": 79.0,
    "val/t2i_r10": 90.0,
    "val/mean_r1": 36.733,
    "val/rsum": 413.966,
}


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "tangka_match")

    def say(metrics, fn="fit"):
        trainer = SimpleNamespace(
            state=SimpleNamespace(fn=fn),
            current_epoch=7,
            global_step=184,
            callback_metrics={name: torch.tensor(value) for name, value in metrics.items()},
        )
        ValidationLines().on_validation_end(trainer, None)
        return caplog.messages

    return say


def test_a_validation_is_one_line(said):
    assert said(METRICS) == [
        "epoch  7  step   184  loss 0.412  val 0.500  i2t 37.47/80.00/91.50  t2i 36.00/79.00/90.00  "
        "mean R@1 36.73  rsum 414.0"
    ]


def test_a_training_loss_that_is_not_logged_yet_is_said_to_be_unknown(said):
    (line,) = said({name: value for name, value in METRICS.items() if name != "train/loss"})
    assert "loss –  val 0.500" in line


def test_validation_outside_of_training_is_silent(said):
    assert said(METRICS, fn="validate") == []
