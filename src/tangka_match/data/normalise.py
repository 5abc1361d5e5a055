"""Caption text in one form: what the tokenizer reads, and the key by which two captions count as the same text."""

import re
import unicodedata

_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs"})  # control, format (zero width, byte order mark), lone surrogate
_VARIATION_SELECTOR = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def normalise_caption(text: str) -> str:
    r"""Bring a caption into one form.

    Unicode NFKC (full-width letters, digits and compatibility characters become their plain forms), invisible
    characters removed (controls, zero-width characters, byte order marks, variation selectors), runs of white space
    made one space, ends stripped, lower case. Normalising twice changes nothing more.

    NFKC also turns the full-width ``，！？：；（）`` into ASCII, while ``。、「」《》`` have no other form and stay.
    This is wanted: writers mix both widths of a comma, and one mark must not become two words of the vocabulary. jieba
    cuts at either width, so the words around the mark come out the same.

    Args:
        text: A caption as written; may be empty.

    Returns:
        The normalised caption; empty where nothing visible was written.

    >>> normalise_caption("  ＧＰＵ绘制的　唐卡，\u200b高１２０ｃｍ！\n")
    'gpu绘制的 唐卡,高120cm!'
    >>> normalise_caption("主尊。") == normalise_caption("主尊\ufeff。")
    True
    """
    visible = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in _INVISIBLE_CATEGORIES)
    folded = unicodedata.normalize("NFKC", _VARIATION_SELECTOR.sub("", visible)).lower()
    # Lower-casing can leave a letter and an accent that NFKC joins, hence the second pass.
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def is_punctuation(text: str) -> bool:
    """Whether a text is punctuation, symbols or white space alone, or empty: no letter, mark or digit of any script.

    Combining marks count as content: jieba cuts Tibetan into single characters, and a vowel sign is such a mark.

    >>> [is_punctuation(token) for token in ("。", ",", " ", "唐卡", "3", "ཨ")]
    [True, True, True, False, False, False]
    """
    return all(_is_filler(c) for c in text)


def text_key(text: str) -> str:
    """The key by which two captions count as the same text: normalised, without punctuation, symbols and spaces.

    Captions of one key are positives of each other in training, whatever image they were written for. A caption that
    holds nothing else than punctuation keeps its normalised form, so that such captions do not all become one.

    >>> text_key("一个男人，坐着。") == text_key("一个男人 坐着")
    True
    >>> text_key("一个男人") == text_key("两个男人")
    False
    """
    normalised = normalise_caption(text)
    return "".join(c for c in normalised if not _is_filler(c)) or normalised


def _is_filler(character: str) -> bool:
    """Punctuation, symbol, separator or invisible character; private-use characters may be letters and are kept."""
    category = unicodedata.category(character)
    return category[0] in "PSZ" or category in _INVISIBLE_CATEGORIES
