import re

import pytest

from tangka_match.data.user_dictionary import DictionaryEntry, domain_terms, parse_entry, read_user_dictionary
from tangka_match.errors import DataFormatError


def write(folder, content):
    path = folder / "words.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_domain_terms_are_many_unique_and_complete():
    entries = domain_terms()
    words = [entry.word for entry in entries]
    assert len(words) >= 300
    assert len(words) == len(set(words))
    assert all(entry.frequency is not None and entry.tag for entry in entries)
    assert all(re.fullmatch("[\u4e00-\u9fd5]{2,}", word) for word in words)
    assert {"结跏趺坐", "嘎巴拉碗", "乌巴拉花"} <= set(words)


def test_every_form_of_a_line_is_read(tmp_path):
    path = write(tmp_path, "\ufeff# 唐卡\r\n度母\r\n\n  大黑天 20\t nz \n手印 n\n宝幢 7\n")
    assert read_user_dictionary(path) == (
        DictionaryEntry("度母", None, ""),
        DictionaryEntry("大黑天", 20, "nz"),
        DictionaryEntry("手印", None, "n"),
        DictionaryEntry("宝幢", 7, ""),
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("大黑天 0 nz", "frequency 0 is not between 1 and 1000000000"),
        ("大黑天 -3", "frequency -3 is not between"),
        ("大黑天 99999999999999999999999", "frequency 99999999999999999999 is not between"),
        ("大黑天 2O n", "'2O' is neither a frequency nor a tag"),
        ("大黑天 nz 20", "'20' is neither a frequency nor a tag"),
        ("大黑天 20 nz 玛哈嘎拉", "'玛哈嘎拉' is neither a frequency nor a tag"),
        ("大黑天 1.5", "'1.5' is neither a frequency nor a tag"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, reason):
    path = write(tmp_path, f"度母 5\n{line}\n手印\n")
    with pytest.raises(DataFormatError, match=re.escape(f"{path}, line 2: {line!r}: ") + ".*" + re.escape(reason)):
        read_user_dictionary(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(DataFormatError, match=r"absent\.txt: cannot read .*No such file.*user_dictionaries"):
        read_user_dictionary(tmp_path / "absent.txt")


def test_other_encoding_is_named(tmp_path):
    path = write(tmp_path, b"abc\n" + "度母".encode("gb18030"))
    with pytest.raises(DataFormatError, match=r"words\.txt: user dictionary is not UTF-8 \(byte 0xb6 at position 4\)"):
        read_user_dictionary(path)


def test_parse_entry_leaves_the_fields_alone():
    fields = ["大黑天", "20", "nz"]
    parse_entry(fields)
    assert fields == ["大黑天", "20", "nz"]
