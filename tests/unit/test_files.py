import errno
import re

import numpy as np
import pytest
import torch

from tangka_match.files import naming, write_text_completely, written_completely


def fail_with(path, error):
    with written_completely(path) as partial:
        partial.write_text("half")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError(), OSError(errno.ENOSPC, "No space left on device")])
def test_failure_leaves_neither_the_file_nor_a_folder(tmp_path, error):
    with pytest.raises(type(error)):
        fail_with(tmp_path / "new" / "file", error)
    assert not list(tmp_path.iterdir())


def test_failure_keeps_the_previous_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(ValueError, match=r"^$"):
        fail_with(path, ValueError())
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


def test_files_are_replaced_and_folders_made(tmp_path):
    for text in ("one", "二"):
        write_text_completely(tmp_path / "new" / "file", text)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").read_text("utf-8") == "二"


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError("4096 requested and 12 written"), errno.ENOSPC),  # of np.ndarray.tofile
        (OSError(errno.EIO, "Input/output error"), errno.EIO),
        (OSError("something else"), errno.EIO),
        (
            RuntimeError("[enforce fail] PytorchStreamWriter failed writing file data/3: file write failed"),
            errno.ENOSPC,
        ),
    ],
)
def test_errors_of_writes_name_the_file(tmp_path, error, number):
    with pytest.raises(OSError, match=re.escape(str(tmp_path / "file"))) as caught:
        fail_with(tmp_path / "file", error)
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "file"))


def test_errors_that_name_another_file_and_other_errors_pass(tmp_path):
    with pytest.raises(FileNotFoundError, match="other"), naming(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    with pytest.raises(RuntimeError, match="shapes"), naming(tmp_path / "file"):
        raise RuntimeError("shapes differ")


def test_full_device_is_named_by_numpy_and_torch(tmp_path):
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    for write in (lambda: np.zeros(9999).tofile(full), lambda: torch.save(torch.zeros(100_000), full)):
        with pytest.raises(OSError, match="full'") as caught, naming(full):
            write()
        assert caught.value.errno == errno.ENOSPC


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        write_text_completely(tmp_path / "taken" / "file", "x")
