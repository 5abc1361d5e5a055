"""Groups of words that mean the same in a caption."""

from collections.abc import Iterable
from importlib.resources import files

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import DataFormatError


def domain_synonyms() -> tuple[tuple[str, ...], ...]:
    """The groups that come with the package (``resources/synonyms.txt``)."""
    resource = files("tangka_match.data") / "resources" / "synonyms.txt"
    return parse_synonyms(resource.read_text(encoding="utf-8"), resource.name)


def parse_synonyms(text: str, source: str) -> tuple[tuple[str, ...], ...]:
    r"""Read groups, one a line, words separated by ``=``; empty lines and lines that begin with ``#`` are skipped.

    Args:
        text: Lines like ``月轮=月轮座``.
        source: Where they come from, for messages.

    Raises:
        DataFormatError: A group has fewer than two words, or a word stands twice.

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
            raise DataFormatError(
                f"{source}, line {number}: {stripped!r}; expected two and more words, word=word=word."
            )
        for word in group:
            if word in seen:
                raise DataFormatError(
                    f"{source}, line {number}: {word!r} is on line {seen[word]} already; a word has one group."
                )
            seen[word] = number
        groups.append(group)
    return tuple(groups)


def known_synonyms(groups: Iterable[tuple[str, ...]], vocabulary: Vocabulary) -> dict[int, tuple[int, ...]]:
    """Ids of the other words of a word's group, as far as the vocabulary knows them.

    >>> known_synonyms([("头光", "圆光", "背光")], Vocabulary(["头光", "云", "背光"]))
    {4: (6,), 6: (4,)}
    """
    ids = {word: index for index, word in enumerate(vocabulary.words)}
    known = [[ids[word] for word in group if word in ids] for group in groups]
    return {word: tuple(other for other in group if other != word) for group in known for word in group if group[1:]}
