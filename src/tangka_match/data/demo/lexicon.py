"""Every concept that a painting can show, and the Chinese terms that captions use for it."""

from dataclasses import dataclass

from tangka_match.data.demo.figures import FIGURES
from tangka_match.data.demo.tables import read_table


@dataclass(frozen=True)
class Concept:
    """Something that a painting shows and a caption can name.

    Args:
        kind: Section of ``resources/lexicon.txt`` it comes from, such as ``hand`` or ``offering``, or ``figure``.
        key: Short English name, unique within the kind.
        shape: Glyph that ``painting.py`` draws, or ``-``.
        colour: Name of the glyph's colour, or ``-``.
        terms: Chinese synonyms, the commonest first.
    """

    kind: str
    key: str
    shape: str
    colour: str
    terms: tuple[str, ...]

    @property
    def name(self) -> str:
        """``kind:key``, unique among all concepts."""
        return f"{self.kind}:{self.key}"


def parse_concept(kind: str, row: str) -> Concept:
    """Read a row ``key shape colour : term term …``.

    Example:
        >>> parse_concept("hand", "bell bell gold : 金刚铃 铃")
        Concept(kind='hand', key='bell', shape='bell', colour='gold', terms=('金刚铃', '铃'))
    """
    left, terms = row.split(" : ")
    key, shape, colour = left.split()
    return Concept(kind, key, shape, colour, tuple(terms.split()))


KINDS: dict[str, tuple[Concept, ...]] = {
    "figure": tuple(Concept("figure", figure.key, "-", "-", figure.names) for figure in FIGURES),
    **{kind: tuple(parse_concept(kind, row) for row in rows) for kind, rows in read_table("lexicon").items()},
}
"""Concepts of each kind in the order of their table."""

CONCEPTS: tuple[Concept, ...] = tuple(concept for concepts in KINDS.values() for concept in concepts)
"""All concepts; a concept's position here is its number in scenes and codes."""

NUMBER: dict[str, int] = {concept.name: number for number, concept in enumerate(CONCEPTS)}
"""From ``kind:key`` to the position in ``CONCEPTS``."""
