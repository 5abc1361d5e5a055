import numpy as np
import pytest

from tangka_match.data.boxes import read_boxes
from tangka_match.errors import DataFormatError


def test_boxes_are_read_as_float32(tmp_path):
    boxes = np.array([[[0, 0.25, 0.5, 1], [0, 0, 0, 0]]], np.float16)
    np.save(tmp_path / "b.npy", boxes)
    read = read_boxes(tmp_path / "b.npy", 1, 2)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, boxes)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (np.zeros((2, 3, 4)), r"must be \(1, 3, 4\) floats.*found shape \(2, 3, 4\), dtype <f8"),
        (np.zeros((1, 3, 5)), r"found shape \(1, 3, 5\)"),
        (np.zeros((1, 3, 4), np.int64), r"dtype <i8"),
        (
            [[[0, 0, 1, 1], [0, 0, 224, 224], [9, 9, 9, 9]]],
            r"row 0, region 1: box \[0\.0, 0\.0, 224\.0, 224\.0\] \(2 su",
        ),
        (
            [[[0, 0, 1, 1], [0, 0, 1, 1], [0.5, 0, 0.25, 1]]],
            r"row 0, region 2: box \[0\.5, 0\.0, 0\.25, 1\.0\] \(1 such",
        ),
        ([[[0, 0, 1, 1], [0, np.nan, 1, 1], [0, 0, 1, 1]]], r"row 0, region 1: box \[0\.0, nan, 1\.0, 1\.0\]"),
        ([[[-0.5, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]], r"row 0, region 0: box \[-0\.5, 0\.0"),
    ],
)
def test_bad_boxes(tmp_path, boxes, said):
    boxes = np.asarray(boxes, np.float32) if isinstance(boxes, list) else boxes
    np.save(tmp_path / "b.npy", boxes)
    with pytest.raises(DataFormatError, match=rf"b\.npy: .*{said}|b\.npy: {said}"):
        read_boxes(tmp_path / "b.npy", 1, 3)
