import unicodedata

import numpy as np
import pytest

from helpers.precomp import write_lines
from tangka_match.data.captions import (
    check_unique,
    group_ids,
    group_texts,
    is_punctuation,
    normalise_caption,
    read_lines,
    text_key,
)
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
    """``str.splitlines`` would split this caption into three and shift all following ones."""
    path = tmp_path / "caps.txt"
    write_lines(path, ["绿度母\u2028坐在\x85莲花座上"])
    assert len(read_lines(path)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        ("狗\n\n猫\n \n".encode(), "2 of 4 lines are empty: 2, 4"),
        ("狗\n".encode() + b"\n" * 7, "7 of 8 lines are empty: 2, 3, 4, 5, 6 and 2 more"),
        ("绿度母\n".encode() + "金刚".encode("gb18030"), r"line 2, byte 1 \(0xbd\) is not UTF-8"),
        ("绿度母\n金".encode() + b"\xff", r"line 2, byte 4 \(0xff\) is not UTF-8 .*iconv"),
        ("绿度母".encode("utf-16"), r"line 1, byte 1 \(0xff\) is not UTF-8"),
    ],
)
def test_invalid_files(tmp_path, content, message):
    path = tmp_path / "caps.txt"
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=rf"{path}: .*{message}|{path}: {message}"):
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


def test_non_consecutive_id():
    with pytest.raises(DataFormatError, match=r"x_ids\.txt: image id 'a' on line 2 occurs again on line 4"):
        group_ids(["a", "a", "b", "a"], "x_ids.txt")


def test_duplicate_image_id():
    check_unique(["a", "b"], "x_ids.txt")
    with pytest.raises(DataFormatError, match=r"x_ids\.txt: image id 'b' occurs on line 2 and on line 4.*4 ids"):
        check_unique(["a", "b", "c", "b"], "x_ids.txt")


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("", ""),
        (" \t\r\n　", ""),
        ("ＧＰＵ１２０ｃｍ", "gpu120cm"),
        ("Thangka ART", "thangka art"),
        ("唐卡　 \n 长卷", "唐卡 长卷"),
        ("唐\u200b卡\ufeff\x00\u202e", "唐卡"),
        ("唐\ud800卡", "唐卡"),
        ("葛\U000e0100城❤\ufe0f", "葛城❤"),
        ("⾦刚", "金刚"),  # Kangxi radical, as copied from a PDF
        ("①㎝…", "1cm..."),
    ],
)
def test_normalise_caption_examples(written, normalised):
    assert normalise_caption(written) == normalised


def test_full_width_punctuation_becomes_ascii_and_chinese_marks_are_kept():
    assert normalise_caption("，！？：；（）") == ",!?:;()"
    assert normalise_caption("。、「」《》“”") == "。、「」《》“”"


def test_normalising_twice_changes_nothing():
    for code in range(0x30000):
        for text in (chr(code), f"e{chr(code)}\u0301"):
            once = normalise_caption(text)
            assert normalise_caption(once) == once, hex(code)


def test_invisible_characters_are_removed():
    everything = normalise_caption("".join(map(chr, range(0x20000))))
    assert {unicodedata.category(c) for c in everything}.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert "  " not in everything


@pytest.mark.parametrize("token", ["。", "，", "...", "《》", "-", "+", " ", "\n", "\u200b", "😀", ""])
def test_punctuation(token):
    assert is_punctuation(token)


@pytest.mark.parametrize("token", ["一", "a", "3", "，一", "ཨ", "\u0f7c", "\ue000", "㐂"])
def test_not_punctuation(token):
    assert not is_punctuation(token)


def test_text_key_ignores_punctuation_spaces_and_width():
    keys = {
        text_key(text) for text in ("一个男人，坐着。", "一个男人 坐着", "“一个男人”坐着！\u200b", "一个男人,坐着...")
    }
    assert keys == {"一个男人坐着"}
    assert text_key("ＡB３") == "ab3"


def test_text_key_differs_between_texts():
    assert text_key("一个男人坐着") != text_key("一个女人坐着")
    assert text_key("。") != text_key("?")
    assert text_key("ཨོ") != text_key("ཨི")
