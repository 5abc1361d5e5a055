import logging
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from helpers.small_runs import STEPS_PER_EPOCH, quiet_trainer, small_data, small_module
from tangka_match.training.callbacks import LastValidation, Pruning, ValidationLines


class Validations(pl.Callback):
    """Callback that records the optimizer step of each validation."""

    def __init__(self):
        self.steps = []

    def on_validation_end(self, trainer, pl_module):
        self.steps.append(trainer.global_step)


def validated_at(root, *callbacks, **settings):
    seen = Validations()
    trainer = quiet_trainer(callbacks=[*callbacks, seen], **settings)
    trainer.fit(small_module(), datamodule=small_data(root))
    assert trainer.callback_metrics["val/rsum"] > 0
    return seen.steps, trainer.global_step


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"max_epochs": 4, "max_steps": 5}, [3, 5]),  # ends within the second epoch
        ({"max_epochs": 4, "max_steps": 2}, [2]),  # ends within the first
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [6, 9]),  # three is not a multiple of two
        ({"max_epochs": 9, "max_steps": 8, "check_val_every_n_epoch": 2}, [6, 8]),
        ({"max_epochs": 1, "check_val_every_n_epoch": 5}, [3]),
    ],
)
def test_last_step_is_validated(tmp_path, settings, steps):
    assert validated_at(tmp_path, LastValidation(), **settings) == (steps, steps[-1])


@pytest.mark.parametrize("settings", [{"max_epochs": 2}, {"max_epochs": 9, "max_steps": 2 * STEPS_PER_EPOCH}])
def test_run_that_ends_with_an_epoch_is_validated_once(tmp_path, settings):
    assert validated_at(tmp_path, LastValidation(), **settings) == ([3, 6], 6)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({"max_epochs": 4, "max_steps": 5}, [3]), ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [6])],
)
def test_lightning_alone_does_not_validate(tmp_path, settings, steps):
    """When this fails, the callback is no longer needed."""
    assert validated_at(tmp_path, **settings)[0] == steps


def fit(root, answers, **settings):
    """Return the reported epochs, the optimizer steps of the run, and whether it was pruned."""
    reported = []

    def report(epoch, value):
        reported.append((epoch, 0 <= value <= 100))
        return answers[epoch]

    pruning = Pruning(report, "val/mean_r1")
    trainer = quiet_trainer(callbacks=[LastValidation(), pruning], **settings)
    trainer.fit(small_module(), datamodule=small_data(root))
    return reported, trainer.global_step, pruning.pruned


@pytest.mark.parametrize(
    ("answers", "epochs", "pruned"),
    [([False] * 4, 4, False), ([False, True, True, True], 2, True), ([True] * 4, 1, True)],
)
def test_run_ends_after_the_epoch_in_which_it_is_pruned(tmp_path, answers, epochs, pruned):
    expected = [(epoch, True) for epoch in range(epochs)], 3 * epochs, pruned
    assert fit(tmp_path, answers, max_epochs=4) == expected


def test_pruning_reports_the_given_metric(tmp_path):
    reported = []
    pruning = Pruning(lambda epoch, value: reported.append(value), "val/t2i_mean_rank")
    trainer = quiet_trainer(callbacks=[pruning], max_epochs=1)
    trainer.fit(small_module(), datamodule=small_data(tmp_path))
    assert reported == [trainer.callback_metrics["val/t2i_mean_rank"].item()]


def test_run_at_its_last_epoch_is_not_pruned(tmp_path):
    assert fit(tmp_path, [False, True], max_epochs=2) == ([(0, True), (1, True)], 6, False)


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
def logged(caplog):
    caplog.set_level(logging.INFO, "tangka_match")

    def log_lines(metrics, fn="fit"):
        trainer = SimpleNamespace(
            state=SimpleNamespace(fn=fn),
            current_epoch=7,
            global_step=184,
            callback_metrics={name: torch.tensor(value) for name, value in metrics.items()},
        )
        ValidationLines().on_validation_end(trainer, None)
        return caplog.messages

    return log_lines


def test_validation_is_logged_as_one_line(logged):
    assert logged(METRICS) == [
        "epoch  7  step   184  loss 0.412  val 0.500  i2t 37.47/80.00/91.50  t2i 36.00/79.00/90.00  "
        "mean R@1 36.73  rsum 414.0"
    ]


def test_missing_training_loss_is_shown_as_a_dash(logged):
    (line,) = logged({name: value for name, value in METRICS.items() if name != "train/loss"})
    assert "loss –  val 0.500" in line


def test_validation_outside_of_training_is_not_logged(logged):
    assert logged(METRICS, fn="validate") == []
