import mmap

import numpy as np
import pytest

from tangka_match.data.npy import read_ahead, read_npy_header
from tangka_match.errors import DataFormatError


class RunsCode:
    """Object that fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


def test_header(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3), np.float16))
    header = read_npy_header(path)
    assert (header.path, header.shape, header.dtype) == (path, (2, 3), np.float16)
    assert path.read_bytes()[header.offset :] == bytes(2 * 3 * 2)


def test_format_version_2(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.zeros((2, 3), np.float32), version=(2, 0))
    assert read_npy_header(path).shape == (2, 3)


def test_missing_file(tmp_path):
    with pytest.raises(DataFormatError, match=r"no\.npy: cannot be opened \(No such file"):
        read_npy_header(tmp_path / "no.npy")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 something else altogether", b"\x93NUMPY\x01\x00\x10\x00{'descr'"]
)
def test_not_npy(tmp_path, content):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=r"a\.npy: not a readable \.npy file"):
        read_npy_header(path)


def test_python_objects_are_refused_and_not_unpickled(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([RunsCode()], dtype=object), allow_pickle=True)
    with pytest.raises(DataFormatError, match=r"a\.npy: contains Python objects \(dtype \|O\), .* never unpickled"):
        read_npy_header(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3), ">f4"), "dtype >f4, fortran_order=False"),
        (np.asfortranarray(np.zeros((2, 3), "<f4")), "dtype <f4, fortran_order=True"),
    ],
)
def test_foreign_memory_order(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataFormatError, match=message):
        read_npy_header(tmp_path / "a.npy")


@pytest.mark.parametrize(("change", "message"), [(-5, "truncated: 1,147"), (3, "too long: 1,155")])
def test_file_size_differs_from_header(tmp_path, change, message):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((8, 8, 8), np.float16))
    data = path.read_bytes() + b"\0" * change
    path.write_bytes(data[:change] if change < 0 else data)
    with pytest.raises(DataFormatError, match=f"{message} bytes found, 1,152 expected"):
        read_npy_header(path)


PAGE = mmap.PAGESIZE


class Mapping:
    """Records the calls of ``madvise``."""

    def __init__(self):
        self.calls = []

    def madvise(self, advice, start, length):
        self.calls.append((advice, start, length))


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="no madvise on this system")
def test_read_ahead_covers_all_rows_from_their_first_page():
    mapping = Mapping()
    read_ahead(mapping, 128, PAGE + 100, np.array([2, 0]))
    assert mapping.calls == [
        (mmap.MADV_WILLNEED, 2 * PAGE, 328 + PAGE + 100),  # row 2 begins 328 bytes into its page
        (mmap.MADV_WILLNEED, 0, 128 + PAGE + 100),
    ]


def test_read_ahead_without_madvise_does_nothing(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_WILLNEED", raising=False)
    mapping = Mapping()
    read_ahead(mapping, 0, 10, np.array([1]))
    assert mapping.calls == []
