import time
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.records.working_time import read_working_time
from tangka_match.training.callbacks import LastCheckpoint, PhaseTimer
from tangka_match.training.callbacks.checkpoints import AtomicCheckpointIO


class Clock:
    """Stands for the host's clock: only what a test declares slow takes time, one second a call."""

    def __init__(self):
        self.now = 0.0

    def tick(self, *args, **kwargs):
        self.now += 1.0

    def slow(self, *hooks):
        callback = pl.Callback()
        for hook in hooks:
            setattr(callback, hook, self.tick)
        return callback


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def timed_fit(root, *others, epochs=1, **options):
    """Train for some epochs of three steps; return the seconds by phase, the reports and the trainer."""
    data = small_data(root)
    data.setup("fit")
    reports = []
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[*others, PhaseTimer(reports.append)], **options)
    trainer.fit(small_module(), datamodule=data)
    total = read_working_time({"event": "phases", **report.record()} for report in reports)
    return total.seconds, reports, trainer


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ("setup", {"start": 1.0}),
        ("on_fit_start", {"start": 1.0}),
        ("on_train_start", {"start": 1.0}),
        ("on_train_epoch_start", {"data": 1.0}),
        ("on_train_batch_start", {"data": 3.0}),
        ("on_before_zero_grad", {"forward and backward": 3.0}),
        ("on_before_backward", {"forward and backward": 3.0}),
        ("on_train_batch_end", {"optimizer": 3.0}),
        ("on_validation_epoch_end", {"validation": 1.0}),
        ("on_train_epoch_end", {"other": 1.0}),
    ],
)
def test_time_is_counted_where_it_is_spent(tmp_path, clock, hook, expected):
    seconds, _, _ = timed_fit(tmp_path, clock.slow(hook))
    assert seconds == expected


def test_resumed_run_whose_training_was_over_counts_its_start(tmp_path, clock):
    seconds, _, _ = timed_fit(tmp_path, clock.slow("setup"), epochs=0)
    assert seconds == {"start": 1.0}


def test_optimizer_step_is_its_own_phase(tmp_path, clock, monkeypatch):
    step = torch.optim.SGD.step

    def slow_step(self, closure=None):
        loss = step(self, closure)
        clock.tick()
        return loss

    monkeypatch.setattr(torch.optim.SGD, "step", slow_step)
    assert timed_fit(tmp_path)[0] == {"optimizer": 3.0}


def test_batches_without_a_step_are_forward_and_backward(tmp_path, clock):
    seconds, _, _ = timed_fit(tmp_path, clock.slow("on_train_batch_end"), accumulate_grad_batches=3)
    assert seconds == {"forward and backward": 2.0, "optimizer": 1.0}


def test_checkpoints_are_their_own_phase(tmp_path, clock, monkeypatch):
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda *args, **kwargs: (clock.tick(), save(*args, **kwargs)))
    last = LastCheckpoint(tmp_path / "last.ckpt", 1, lambda step: None)
    seconds, _, _ = timed_fit(tmp_path, last, plugins=[AtomicCheckpointIO()])
    assert seconds == {"checkpoints": 3.0}, "after two steps and at the end of the epoch"


def test_each_epoch_is_reported(tmp_path, clock):
    _, reports, _ = timed_fit(tmp_path, clock.slow("on_validation_start"), epochs=2)
    assert [report.seconds for report in reports] == [{"other": 1.0}, {"other": 1.0}, {}]


def test_failed_run_reports_too(tmp_path):
    def fail(*args, **kwargs):
        raise RuntimeError("disk on fire")

    failing = pl.Callback()
    failing.on_before_backward = fail
    reports = []
    data = small_data(tmp_path)
    data.setup("fit")
    trainer = quiet_trainer(max_epochs=1, callbacks=[failing, PhaseTimer(reports.append)])
    with pytest.raises(RuntimeError, match="disk on fire"):
        trainer.fit(small_module(), datamodule=data)
    assert len(reports) == 1


def test_error_of_the_gpu_is_not_replaced(tmp_path, monkeypatch):
    """After a device-side assertion every further call of CUDA fails."""
    timer = PhaseTimer(lambda time: None)
    module, trainer = SimpleNamespace(device=torch.device("cpu")), SimpleNamespace(strategy=None)
    timer.on_train_start(trainer, module)

    def fail(*args):
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(timer, "_mark", fail)
    timer.on_exception(trainer, module, ValueError("the first"))


class GpuClock:
    """Stands for ``torch.cuda.Event``: a GPU that works ``busy`` seconds for each event and is never waited for."""

    moments: list["GpuClock"]

    def __init__(self, enable_timing):
        assert enable_timing
        self.is_read = False

    def record(self, stream):
        self.moments.append(self)

    def synchronize(self):
        self.is_read = True

    def elapsed_time(self, other):
        return 1000.0 * (self.moments.index(other) - self.moments.index(self))


def test_events_on_a_gpu_are_read_at_logged_steps_only(monkeypatch):
    GpuClock.moments = []
    cuda = torch.cuda
    for name, stand_in in {
        "Event": GpuClock,
        "current_stream": lambda device: None,
        "reset_peak_memory_stats": lambda device: None,
        "max_memory_allocated": lambda device: 3 * 2**20,
        "utilization": lambda device: 15,
    }.items():
        monkeypatch.setattr(cuda, name, stand_in)
    reports = []
    monkeypatch.setattr(time, "perf_counter", iter([5.0, 7.0]).__next__)
    timer = PhaseTimer(reports.append)
    module = SimpleNamespace(device=torch.device("cuda"))
    trainer = SimpleNamespace(
        strategy=SimpleNamespace(checkpoint_io=None), log_every_n_steps=2, global_step=0, estimated_stepping_batches=9
    )
    timer.on_train_start(trainer, module)
    for step in (1, 2):
        timer.on_train_batch_start(trainer, module, None, 0)
        timer.on_before_optimizer_step(trainer, module, None)
        trainer.global_step = step
        timer.on_train_batch_end(trainer, module, None, None, 0)
        assert any(moment.is_read for moment in GpuClock.moments) == (step == 2)
    timer.on_fit_end(trainer, module)
    (report,) = reports
    assert report.seconds == {"start": 2.0, "data": 2.0, "forward and backward": 2.0, "optimizer": 2.0, "other": 1.0}
    assert report.gpu_busy == 15.0
    assert report.peak_memory_mib == 3.0


class NVMLError(Exception):
    """As in NVIDIA's library, where it derives from nothing else."""


@pytest.mark.parametrize("error", [ModuleNotFoundError("pynvml"), NVMLError("Not Supported"), RuntimeError("driver")])
def test_gpu_that_does_not_say_its_utilisation_is_no_failure(monkeypatch, error):
    def missing(device):
        raise error

    monkeypatch.setattr(torch.cuda, "utilization", missing)
    timer = PhaseTimer(lambda time: None)
    timer._ask_gpu(torch.device("cuda"))
    assert timer._busy == []
