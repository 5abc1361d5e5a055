import inspect

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.profilers import SimpleProfiler

from helpers.small_runs import TRAINER
from tangka_match.errors import ConfigError
from tangka_match.training.settings import TrainerSettings
from tangka_match.training.trainer import (
    KNOWN_ARGUMENTS,
    REFUSED_ARGUMENTS,
    build_trainer,
    needs_loss_scaling,
    run_length,
)


def settings(**changed):
    return TrainerSettings(**(TRAINER | changed))


def built(tmp_path, **changed):
    others = {"strategy": "auto", "steps_per_epoch": 7, "callbacks": [], "loggers": [], "folder": tmp_path}
    return build_trainer(settings(**changed), **others)


@pytest.mark.parametrize(("interval", "expected"), [(5, 5), (10, 7)])
def test_logging_interval_is_at_most_an_epoch(tmp_path, interval, expected):
    assert built(tmp_path, log_every_n_steps=interval).log_every_n_steps == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"max_epochs": 4}, (10, 10, 4, 40)),
        ({"max_epochs": 4, "max_steps": 25}, (10, 10, 3, 25)),
        ({"max_epochs": 4, "accumulate_grad_batches": 4}, (10, 3, 4, 12)),
        ({"max_epochs": 4, "limit_train_batches": 3}, (3, 3, 4, 12)),
        ({"max_epochs": 4, "limit_train_batches": 0.55}, (5, 5, 4, 20)),
        ({"max_epochs": 4, "limit_train_batches": 5, "accumulate_grad_batches": 2}, (5, 3, 4, 12)),
        ({"max_epochs": 4, "overfit_batches": 2}, (2, 2, 4, 8)),
        ({"max_epochs": 4, "max_steps": 7, "fast_dev_run": True}, (1, 1, 1, 1)),
        ({"max_epochs": 4, "fast_dev_run": 30}, (10, 10, 1, 10)),
    ],
)
def test_run_length_counts_optimizer_steps(changed, expected):
    assert run_length(settings(**changed), 10) == expected


def test_share_of_less_than_one_batch_is_refused():
    with pytest.raises(ConfigError, match=r"0\.05 of the 10 batches of an epoch is less than one batch"):
        run_length(settings(limit_train_batches=0.05), 10)


def test_refused_arguments_exist_in_lightning():
    assert set(REFUSED_ARGUMENTS) <= set(KNOWN_ARGUMENTS) == set(inspect.signature(pl.Trainer).parameters)


def test_further_arguments_reach_the_trainer(tmp_path):
    trainer = built(tmp_path, min_epochs=2, accumulate_grad_batches=3, detect_anomaly=True)
    assert (trainer.fit_loop.min_epochs, trainer.accumulate_grad_batches) == (2, 3)
    assert trainer._detect_anomaly


def test_limits_do_not_cut_the_validation_gallery(tmp_path):
    for changed in ({"fast_dev_run": 2}, {"overfit_batches": 2}):
        trainer = built(tmp_path, **changed)
        assert (trainer.limit_train_batches, trainer.limit_val_batches) == (2, 1.0)
        assert not trainer.fast_dev_run
        assert trainer.overfit_batches == 0


def test_profiler_writes_to_the_run_folder(tmp_path):
    profiler = built(tmp_path, profiler="simple").profiler
    assert isinstance(profiler, SimpleProfiler)
    assert profiler.dirpath == tmp_path


def test_checkpoints_that_slurm_left_in_the_working_directory_are_not_loaded(tmp_path, monkeypatch):
    """Lightning loads ``hpc_ckpt_<n>.ckpt`` of its root folder, the working directory by default, into any run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hpc_ckpt_1.ckpt").touch()
    (tmp_path / "run").mkdir()
    trainer = built(tmp_path / "run")
    assert trainer._checkpoint_connector._hpc_resume_path is None


def test_slurm_neither_requeues_a_run_nor_writes_checkpoints(tmp_path, monkeypatch):
    for name, value in {"NTASKS": "1", "JOB_NAME": "train", "NTASKS_PER_NODE": "1", "NNODES": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    environment = built(tmp_path)._accelerator_connector.cluster_environment
    assert isinstance(environment, SLURMEnvironment)
    assert environment.auto_requeue is False


@pytest.mark.parametrize(
    ("changed", "has_gpu", "scales"),
    [
        ({"precision": "16-mixed", "accelerator": "gpu"}, True, True),
        ({"precision": "16-mixed", "accelerator": "auto"}, False, False),
        ({"precision": "bf16-mixed", "accelerator": "gpu"}, True, False),
    ],
)
def test_loss_is_scaled_in_float16_on_a_gpu(monkeypatch, changed, has_gpu, scales):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert needs_loss_scaling(TrainerSettings.model_validate(TRAINER | changed)) is scales
