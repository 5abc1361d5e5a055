import pytest

from tangka_match.data.encodings import likely_encodings

TRADITIONAL = "一個穿紅色衣服的男人站在馬路上，兩隻狗在他的後面。"
SIMPLIFIED = "一个穿红色衣服的男人站在马路上，两只狗在他的后面。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(SIMPLIFIED, "gb18030"), (TRADITIONAL, "big5"), (SIMPLIFIED, "utf-16-le"), (TRADITIONAL, "gb18030")],
)
def test_encoding_is_named_first(text, encoding):
    assert likely_encodings(text.encode(encoding))[0] == encoding


@pytest.mark.parametrize("data", ["a\tb".encode("utf-16-le"), SIMPLIFIED.encode("utf-16")])
def test_utf16_is_known_by_its_mark_or_zeros(data):
    assert likely_encodings(data) == ["utf-16"]


def test_bytes_of_no_encoding_get_the_usual_ones():
    assert likely_encodings(b"\xff\xff\xff") == ["gb18030", "big5"]
