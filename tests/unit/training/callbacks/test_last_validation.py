import pytest
import pytorch_lightning as pl

from helpers.small_runs import STEPS_PER_EPOCH, quiet_trainer, small_data, small_module
from tangka_match.training.callbacks import LastValidation


class Validations(pl.Callback):
    """Notes after how many optimizer steps each validation ends."""

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
        ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [6, 9]),  # three is no multiple of two
        ({"max_epochs": 9, "max_steps": 8, "check_val_every_n_epoch": 2}, [6, 8]),
        ({"max_epochs": 1, "check_val_every_n_epoch": 5}, [3]),
    ],
)
def test_the_last_step_ends_in_a_validation(tmp_path, settings, steps):
    assert validated_at(tmp_path, LastValidation(), **settings) == (steps, steps[-1])


@pytest.mark.parametrize("settings", [{"max_epochs": 2}, {"max_epochs": 9, "max_steps": 2 * STEPS_PER_EPOCH}])
def test_a_run_that_ends_with_an_epoch_is_not_validated_twice(tmp_path, settings):
    assert validated_at(tmp_path, LastValidation(), **settings) == ([3, 6], 6)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [({"max_epochs": 4, "max_steps": 5}, [3]), ({"max_epochs": 3, "check_val_every_n_epoch": 2}, [6])],
)
def test_lightning_alone_would_not_validate(tmp_path, settings, steps):
    """When this fails, the callback is no longer needed."""
    assert validated_at(tmp_path, **settings)[0] == steps
