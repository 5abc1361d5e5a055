"""What kind of word a word is: its class among the terms of Thangka painting, else its part of speech."""

from collections.abc import Iterable
from importlib import import_module
from importlib.resources import files

from tangka_match.data.normalise import normalise_caption

PARTS_OF_SPEECH = {
    "n": "nouns",
    "v": "verbs",
    "a": "adjectives",
    "m": "numbers and measures",
    "q": "numbers and measures",
    "f": "places and directions",
    "s": "places and directions",
}
"""By the first letter of jieba's tag; of all other words nothing is said. Names are nouns, since jieba's dictionary
takes many common words, such as 小狗, for names."""


def term_classes() -> dict[str, str]:
    """Class of each term of Thangka painting that comes with the package, such as ``坐姿与立姿 Postures``.

    The headings of ``resources/thangka_terms.txt``; words are normalised as captions are.

    >>> term_classes()["结跏趺坐"]
    '坐姿与立姿 Postures'
    """
    text = (files("tangka_match.data") / "resources" / "thangka_terms.txt").read_text(encoding="utf-8")
    classes = {}
    for block in text.split("\n\n")[1:]:  # the first one is about the file
        heading, *lines = block.strip().split("\n")
        for line in lines:
            if not line.startswith("#"):
                classes[normalise_caption(line.split()[0])] = heading.removeprefix("# ")
    return classes


def word_kinds(words: Iterable[str]) -> dict[str, str]:
    """Kind of each word; words of which nothing is known are left out.

    Parts of speech are those of jieba's dictionary, by the word alone: what it is in its sentence is not looked at.

    Args:
        words: Normalised, in any order.

    >>> word_kinds(["结跏趺坐", "红色", "跑", "的"])
    {'结跏趺坐': '坐姿与立姿 Postures', '红色': 'nouns', '跑': 'verbs'}
    """
    wanted, classes = dict.fromkeys(words), term_classes()
    tags = _tags(wanted)
    found = {}
    for word in wanted:
        kind = classes.get(word) or PARTS_OF_SPEECH.get(tags.get(word, "")[:1])
        if kind is not None:
            found[word] = kind
    return found


def _tags(wanted: dict[str, None]) -> dict[str, str]:
    """Tags that jieba's dictionary gives to words; a third of a second."""
    tags = {}
    with import_module("jieba").Tokenizer().get_dict_file() as file:
        for line in file:
            word, _, tag = line.decode("utf-8").split(" ")
            if word in wanted:
                tags[word] = tag.strip()
    return tags
