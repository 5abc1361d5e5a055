"""Synonyms, and word classes: classes of Thangka terms, otherwise parts of speech."""

from collections.abc import Iterable
from importlib import import_module
from importlib.resources import files

from tangka_match.data.captions import normalise_caption
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import DataFormatError

PARTS_OF_SPEECH = {
    "n": "nouns",
    "v": "verbs",
    "a": "adjectives",
    "m": "numbers and measures",
    "q": "numbers and measures",
    "f": "places and directions",
    "s": "places and directions",
}
"""Word class by the first letter of jieba's tag; other tags have none. Names count as nouns, because jieba's dictionary
lists many common words, such as 小狗, as names."""


def domain_synonyms() -> tuple[tuple[str, ...], ...]:
    """Return the synonym groups of the package (``resources/synonyms.txt``)."""
    resource = files("tangka_match.data") / "resources" / "synonyms.txt"
    return parse_synonyms(resource.read_text(encoding="utf-8"), resource.name)


def parse_synonyms(text: str, source: str) -> tuple[tuple[str, ...], ...]:
    r"""Parse synonym groups, one per line, separated by ``=``; empty lines and lines starting with ``#`` are skipped.

    Args:
        text: Lines such as ``月轮=月轮座``.
        source: Name of the source, for messages.

    Raises:
        DataFormatError: If a group has fewer than two words, or a word occurs twice.

    >>> parse_synonyms("# seats\n莲花座=莲座 = 莲台\n", "x")
    (('莲花座', '莲座', '莲台'),)
    """
    groups: list[tuple[str, ...]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        group = tuple(word.strip() for word in stripped.split("="))
        if len(group) < 2 or "" in group:
            raise DataFormatError(f"{source}, line {number}: {stripped!r}; expected two or more words, word=word=word.")
        for word in group:
            if word in seen:
                raise DataFormatError(
                    f"{source}, line {number}: {word!r} is already on line {seen[word]}; a word must be in one group."
                )
            seen[word] = number
        groups.append(group)
    return tuple(groups)


def known_synonyms(groups: Iterable[tuple[str, ...]], vocabulary: Vocabulary) -> dict[int, tuple[int, ...]]:
    """Map the id of each word to the ids of its synonyms in the vocabulary.

    >>> known_synonyms([("头光", "圆光", "背光")], Vocabulary(["头光", "云", "背光"]))
    {4: (6,), 6: (4,)}
    """
    ids = {word: index for index, word in enumerate(vocabulary.words)}
    known = [[ids[word] for word in group if word in ids] for group in groups]
    return {word: tuple(other for other in group if other != word) for group in known for word in group if group[1:]}


def term_classes() -> dict[str, str]:
    """Return the class of each Thangka term of the package, such as ``坐姿与立姿 Postures``.

    The classes are the headings of ``resources/thangka_terms.txt``; words are normalised like captions.

    >>> term_classes()["结跏趺坐"]
    '坐姿与立姿 Postures'
    """
    text = (files("tangka_match.data") / "resources" / "thangka_terms.txt").read_text(encoding="utf-8")
    classes = {}
    for block in text.split("\n\n")[1:]:  # the first block describes the file
        heading, *lines = block.strip().split("\n")
        for line in lines:
            if not line.startswith("#"):
                classes[normalise_caption(line.split()[0])] = heading.removeprefix("# ")
    return classes


def word_kinds(words: Iterable[str]) -> dict[str, str]:
    """Return the class of each word; words without a known class are omitted.

    Parts of speech are those of jieba's dictionary, independent of context.

    Args:
        words: Normalised words.

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
    """Look up the tags of words in jieba's dictionary, in about 0.3 s."""
    tags = {}
    with import_module("jieba").Tokenizer().get_dict_file() as file:
        for line in file:
            word, _, tag = line.decode("utf-8").split(" ")
            if word in wanted:
                tags[word] = tag.strip()
    return tags
