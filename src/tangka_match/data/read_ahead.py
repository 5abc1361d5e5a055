"""Telling the system which parts of a mapped file are about to be read."""

import mmap
from contextlib import suppress

import numpy as np
import numpy.typing as npt


def read_ahead(mapping: mmap.mmap, start: int, size: int, rows: npt.NDArray[np.integer]) -> None:
    """Have rows of a mapped file fetched from the disk all at once, before they are touched.

    Touching them one page after the other waits for the disk each time, and for much that lies beside them: of a file
    that is not in memory, 128 random rows of 147 KB took 150 ms, and 17 ms with this; of one that is, 1.5 and 2.0 ms.
    Does nothing where the system cannot be told.

    Args:
        mapping: The whole file.
        start: Byte in the file where row 0 begins.
        size: Bytes of a row.
        rows: (B,) rows.
    """
    if not hasattr(mmap, "MADV_WILLNEED"):
        return
    for first in (start + size * int(row) for row in rows):
        page = first - first % mmap.PAGESIZE
        with suppress(OSError):  # it is a hint: what could not be announced is read all the same
            mapping.madvise(mmap.MADV_WILLNEED, page, first + size - page)
