import errno
import os
import resource
import shutil
import signal
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException

from helpers.small_runs import METADATA, quiet_trainer, small_data, small_module
from tangka_match.errors import TrainingError
from tangka_match.metrics import retrieval_metrics
from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint
from tangka_match.training.callbacks import BestCheckpoint, LastCheckpoint
from tangka_match.training.callbacks.checkpoints import AtomicCheckpointIO


@pytest.fixture
def fit(monkeypatch):
    """Train with given recalls per epoch."""

    def run(root, recalls, epochs, resume=None):
        next_recalls = iter(recalls)
        monkeypatch.setattr(retrieval_metrics, "summarise", lambda ranks: {"mean_r1": next(next_recalls)})
        data = small_data(root)
        data.setup("fit")
        trainer = quiet_trainer(max_epochs=epochs, callbacks=[BestCheckpoint(root / "best", "val/mean_r1")])
        trainer.fit(small_module(), datamodule=data, ckpt_path=resume)
        return trainer

    return run


def best_epoch(folder):
    return torch.load(folder / "best" / "best.ckpt", weights_only=True)["epoch"]


def test_best_checkpoint_has_the_highest_recall(fit, tmp_path):
    fit(tmp_path, [1.0, 3.0, 2.0], epochs=3)
    assert best_epoch(tmp_path) == 1


def test_worse_epoch_does_not_replace_the_best_after_the_folder_has_moved(fit, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    fit(before, [1.0, 3.0], epochs=2).save_checkpoint(before / "last.ckpt")
    shutil.move(before, after)
    fit(after, [2.0], epochs=3, resume=after / "last.ckpt")
    assert best_epoch(after) == 1


def test_better_epoch_replaces_the_best(fit, tmp_path):
    fit(tmp_path, [1.0, 3.0], epochs=2).save_checkpoint(tmp_path / "last.ckpt")
    fit(tmp_path, [4.0], epochs=3, resume=tmp_path / "last.ckpt")
    assert best_epoch(tmp_path) == 2


class Events(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_validation_end(self, trainer, pl_module):
        self.seen.append(("validated", trainer.global_step))

    def written(self, step):
        self.seen.append(("written", step))


def events_of(root, every_n_steps, **settings):
    events = Events()
    trainer = quiet_trainer(
        callbacks=[events, LastCheckpoint(root / "last.ckpt", every_n_steps, events.written)], **settings
    )
    trainer.fit(small_module(), datamodule=small_data(root))
    return events.seen


def test_last_checkpoint_is_written_within_an_epoch_and_after_validation(tmp_path):
    assert events_of(tmp_path, 2, max_epochs=2) == [
        ("written", 2),
        ("validated", 3),
        ("written", 3),
        ("written", 4),
        ("validated", 6),
        ("written", 6),
    ]


def test_interval_longer_than_an_epoch_writes_at_ends_of_epochs(tmp_path):
    seen = events_of(tmp_path, 100, max_epochs=2)
    assert [step for event, step in seen if event == "written"] == [3, 6]


def test_file_is_a_checkpoint_of_this_project(tmp_path):
    events_of(tmp_path, 100, max_epochs=1)
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint["global_step"] == 3
    assert checkpoint[METADATA_KEY] == METADATA


@pytest.mark.parametrize(
    ("error", "validating", "batches", "written"),
    [
        (SIGTERMException(), False, 2, True),
        (SIGTERMException(), False, 0, True),
        (SIGTERMException(), False, 3, False),  # half of the gradients of a step are accumulated
        (SIGTERMException(), True, 2, False),  # the weights may be averaged at the moment
        (KeyboardInterrupt(), False, 2, False),  # may happen in the middle of an optimizer step
        (ValueError(), False, 2, False),
    ],
)
def test_only_sigterm_between_steps_writes_a_checkpoint(tmp_path, error, validating, batches, written):
    saved = []
    progress = SimpleNamespace(current=SimpleNamespace(completed=batches))
    trainer = SimpleNamespace(
        validating=validating,
        save_checkpoint=saved.append,
        global_step=7,
        accumulate_grad_batches=2,
        num_training_batches=6,
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress)),
    )
    LastCheckpoint(tmp_path / "last.ckpt", 1, saved.append).on_exception(trainer, None, error)
    assert saved == ([tmp_path / "last.ckpt", 7] if written else [])


OLD, NEW = {"weight": torch.zeros(3)}, {"weight": torch.ones(100_000)}


def save(path, content=NEW):
    AtomicCheckpointIO().save_checkpoint(content, path)


def read(path):
    return torch.load(path, weights_only=True)


def fail_with(error):
    def save_half(checkpoint, file):
        file.write(b"half")
        raise error

    return save_half


@pytest.fixture
def path(tmp_path):
    save(tmp_path / "last.ckpt", OLD)
    return tmp_path / "last.ckpt"


def test_saved_checkpoint_can_be_loaded_and_leaves_no_other_file(tmp_path):
    save(tmp_path / "new folder" / "last.ckpt")
    assert torch.equal(read(tmp_path / "new folder" / "last.ckpt")["weight"], NEW["weight"])
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["last.ckpt"]


def test_new_file_replaces_the_old(path):
    save(path)
    assert len(read(path)["weight"]) == 100_000


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("No space left on device: unexpected pos 64\nframe #0"),
    ],
)
def test_full_disk_keeps_the_previous_file_and_frees_space(path, monkeypatch, error):
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", fail_with(error))
    with pytest.raises(
        TrainingError,
        match=r"last\.ckpt: cannot write .*No space left on device.*\); the previous one is kept",
    ):
        save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_message_says_that_there_is_no_earlier_file(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "save", fail_with(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(TrainingError, match=r"there is no earlier one\. Free space .* resume=<run id>"):
        save(tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_write_refused_by_the_system_keeps_the_previous_file(path):
    """A limit on the file size acts like a full disk: writing fails within the weights."""
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"last\.ckpt: cannot write the checkpoint"):
            save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match=r"file/last\.ckpt: cannot write the checkpoint .*no earlier one"):
        save(tmp_path / "file" / "last.ckpt")


def test_kill_while_writing_keeps_the_previous_file(path, monkeypatch):
    monkeypatch.setattr(torch, "save", fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        save(path)
    assert torch.equal(read(path)["weight"], OLD["weight"])
    monkeypatch.undo()
    save(path)  # replaces the partial file that the kill left
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]
