from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.errors import TrainingError
from tangka_match.training.callbacks import LastCheckpoint
from tangka_match.training.loss_scaling import LossScaling, check_steps_taken, skipped_steps
from tangka_match.training.optimisation import warmup_cosine

STEPS = 3


class Overflow(pl.Callback):
    """Makes the gradients of some steps infinite, as float16 does; records the progress and the rate of each step."""

    def __init__(self, *steps):
        self.steps = steps
        self.seen = []

    def on_after_backward(self, trainer, pl_module):
        self.seen.append((round(pl_module.progress, 2), trainer.optimizers[0].param_groups[0]["lr"]))
        if trainer.global_step in self.steps:
            for parameter in pl_module.parameters():
                parameter.grad.fill_(float("inf"))


def fit(root, overflow, *others, resume=None, epochs=1):
    """Train three steps per epoch on the CPU, where torch's scaler works as on a GPU."""
    data, module = small_data(root), small_module(scheduler=partial(warmup_cosine, warmup_steps=0, final_ratio=0.0))
    scaling = LossScaling("cpu", torch.amp.GradScaler("cpu", init_scale=4.0))
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[overflow, *others], plugins=[scaling], precision=None)
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return trainer


def test_skipped_steps_do_not_advance_schedules(tmp_path):
    plain, overflow = Overflow(), Overflow(0, 1)
    fit(tmp_path, plain)
    trainer = fit(tmp_path, overflow)
    assert trainer.global_step == STEPS
    assert skipped_steps(trainer) == 2
    assert [progress for progress, _ in plain.seen] == [0.0, 0.33, 0.67]
    assert [progress for progress, _ in overflow.seen] == [0.0, 0.0, 0.0]
    first, second, third = (rate for _, rate in plain.seen)
    assert first > second > third
    assert [rate for _, rate in overflow.seen] == [first] * STEPS
    check_steps_taken(trainer)


def test_skipped_steps_are_counted_across_a_resume(tmp_path):
    last = LastCheckpoint(tmp_path / "last.ckpt", 100, lambda step: None)
    fit(tmp_path, Overflow(0), last)
    trainer = fit(tmp_path, Overflow(4), resume=tmp_path / "last.ckpt", epochs=2)
    assert skipped_steps(trainer) == 2


def test_run_of_skipped_steps_is_a_failure(tmp_path):
    trainer = fit(tmp_path, Overflow(0, 1, 2))
    with pytest.raises(TrainingError, match=r"all 3 optimizer steps were skipped, .* trainer\.precision=bf16-mixed"):
        check_steps_taken(trainer)


def test_other_precisions_skip_nothing(tmp_path):
    data = small_data(tmp_path)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(small_module(), datamodule=data)
    assert skipped_steps(trainer) == 0
    check_steps_taken(trainer)
