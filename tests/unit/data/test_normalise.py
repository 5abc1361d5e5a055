import unicodedata

import pytest

from tangka_match.data.normalise import is_punctuation, normalise_caption, text_key


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


def test_full_width_punctuation_becomes_ascii_and_chinese_marks_stay():
    assert normalise_caption("，！？：；（）") == ",!?:;()"
    assert normalise_caption("。、「」《》“”") == "。、「」《》“”"


def test_normalising_every_character_twice_changes_nothing_more():
    for code in range(0x30000):
        for text in (chr(code), f"e{chr(code)}\u0301"):
            once = normalise_caption(text)
            assert normalise_caption(once) == once, hex(code)


def test_nothing_invisible_is_left():
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


def test_text_key_tells_different_texts_apart():
    assert text_key("一个男人坐着") != text_key("一个女人坐着")
    assert text_key("。") != text_key("?")
    assert text_key("ཨོ") != text_key("ཨི")
