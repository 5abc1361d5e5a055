import errno
import os
import resource
import signal

import pytest
import torch

from tangka_match.errors import TrainingError
from tangka_match.training.checkpoint_io import AtomicCheckpointIO

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


def test_a_checkpoint_comes_back_and_nothing_else_is_left(tmp_path):
    save(tmp_path / "new folder" / "last.ckpt")
    assert torch.equal(read(tmp_path / "new folder" / "last.ckpt")["weight"], NEW["weight"])
    assert [p.name for p in (tmp_path / "new folder").iterdir()] == ["last.ckpt"]


def test_a_new_one_takes_the_place_of_the_old(path):
    save(path)
    assert len(read(path)["weight"]) == 100_000


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("No space left on device: unexpected pos 64\nframe #0"),
    ],
)
def test_a_full_disk_costs_neither_the_previous_file_nor_space(path, monkeypatch, error):
    before = path.read_bytes()
    monkeypatch.setattr(torch, "save", fail_with(error))
    with pytest.raises(
        TrainingError,
        match=r"last\.ckpt: cannot write .*No space left on device.*\); the previous one is untouched",
    ):
        save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]


def test_the_message_says_when_there_is_no_earlier_one(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "save", fail_with(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(TrainingError, match=r"there is no earlier one\. Free space .* resume=<run id>"):
        save(tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_the_system_really_refuses_costs_nothing_either(path):
    """The system's limit on the size of a file stands for a full disk: writing fails in the midst of the weights."""
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


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match=r"file/last\.ckpt: cannot write the checkpoint .*no earlier one"):
        save(tmp_path / "file" / "last.ckpt")


def test_a_kill_in_the_midst_of_writing_leaves_the_previous_file(path, monkeypatch):
    monkeypatch.setattr(torch, "save", fail_with(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        save(path)
    assert torch.equal(read(path)["weight"], OLD["weight"])
    monkeypatch.undo()
    save(path)  # over the half of it that the kill left
    assert [p.name for p in path.parent.iterdir()] == ["last.ckpt"]
