import mmap

import numpy as np
import pytest

from tangka_match.data.read_ahead import read_ahead

PAGE = mmap.PAGESIZE


class Mapping:
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def madvise(self, advice, start, length):
        self.told.append((advice, start, length))


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="this system cannot be told")
def test_every_byte_of_every_row_is_announced_from_the_start_of_its_page():
    mapping = Mapping()
    read_ahead(mapping, 128, PAGE + 100, np.array([2, 0]))
    assert mapping.told == [
        (mmap.MADV_WILLNEED, 2 * PAGE, 328 + PAGE + 100),  # row 2 begins 328 bytes into its page
        (mmap.MADV_WILLNEED, 0, 128 + PAGE + 100),
    ]


def test_systems_that_cannot_be_told_are_left_alone(monkeypatch):
    monkeypatch.delattr(mmap, "MADV_WILLNEED", raising=False)
    mapping = Mapping()
    read_ahead(mapping, 0, 10, np.array([1]))
    assert mapping.told == []
