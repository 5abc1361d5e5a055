import pytest

from tangka_match.data.encodings import fitting_encoding, likely_encodings

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


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"a girl with a red skirt sits on a chair and reads", "gb18030"),
        (b"a girl with a red skirt sits on a chair and reads!", "big5"),
        ("佢哋喺花園入面坐咗成日，啲細路嘅狗好開心。佢哋喺屋企食飯。".encode("big5hkscs"), "big5hkscs"),
        ("一個男人坐在車上。他們的孩子在跑。這條狗在花園裡。".encode("cp950"), "cp950"),
    ],
)
def test_right_encodings_are_not_refused(data, encoding):
    """ASCII text reads as Chinese in UTF-16, and Big5 lacks characters of its extensions."""
    assert fitting_encoding(data, encoding) is None
