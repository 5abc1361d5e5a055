import numpy as np
import pytest

from helpers.precomp import write_lines
from tangka_match.data.captions import check_unique, group_ids, group_texts, read_lines
from tangka_match.errors import DataFormatError


@pytest.mark.parametrize(
    "content",
    [
        "绿度母\n金刚手\n".encode(),
        "绿度母\n金刚手".encode(),
        "绿度母\r\n金刚手\r\n".encode(),
        "\ufeff绿度母\n金刚手\n".encode(),
        "  绿度母\u3000\n\t金刚手 \n".encode(),
    ],
    ids=["newline at the end", "none at the end", "Windows", "byte-order mark", "space around"],
)
def test_read_lines(tmp_path, content):
    path = tmp_path / "caps.txt"
    path.write_bytes(content)
    assert read_lines(path) == ["绿度母", "金刚手"]


def test_only_newlines_end_a_caption(tmp_path):
    """``str.splitlines`` would make three captions of this one, and shift all that follow."""
    path = tmp_path / "caps.txt"
    write_lines(path, ["绿度母\u2028坐在\x85莲花座上"])
    assert len(read_lines(path)) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no text"),
        (b"\n", "holds no text"),
        ("狗\n\n猫\n \n".encode(), "2 of 4 lines are empty: 2, 4"),
        ("狗\n".encode() + b"\n" * 7, "7 of 8 lines are empty: 2, 3, 4, 5, 6 and 2 more"),
        ("绿度母\n".encode() + "金刚".encode("gb18030"), r"line 2, byte 1 \(0xbd\) is not UTF-8"),
        ("绿度母\n金".encode() + b"\xff", r"line 2, byte 4 \(0xff\) is not UTF-8 .*iconv"),
        ("绿度母".encode("utf-16"), r"line 1, byte 1 \(0xff\) is not UTF-8"),
    ],
)
def test_bad_files(tmp_path, content, said):
    path = tmp_path / "caps.txt"
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=rf"{path}: .*{said}|{path}: {said}"):
        read_lines(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataFormatError, match=r"no\.txt: cannot be read \(No such file"):
        read_lines(tmp_path / "no.txt")


def test_text_groups_compare_normalised_texts():
    groups = group_texts(["绿度母。", "金刚手", "绿度母。 ", "金刚手"])
    assert groups.dtype == np.int64
    assert groups.tolist() == [0, 1, 0, 1]


def test_group_ids():
    assert group_ids(["b", "a", "a", "c", "c", "c"], "ids").tolist() == [0, 1, 1, 2, 2, 2]


def test_an_id_that_comes_back_is_named():
    with pytest.raises(DataFormatError, match=r"x_ids\.txt: image id 'a' on line 2 comes back on line 4"):
        group_ids(["a", "a", "b", "a"], "x_ids.txt")


def test_an_image_id_that_is_not_unique_is_named():
    check_unique(["a", "b"], "x_ids.txt")
    with pytest.raises(DataFormatError, match=r"x_ids\.txt: image id 'b' stands on line 2 and again on line 4.*4 ids"):
        check_unique(["a", "b", "c", "b"], "x_ids.txt")
