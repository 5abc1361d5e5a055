"""Every concept that a painting can show, the Chinese terms that captions use for it, and the central figures."""

from dataclasses import dataclass
from importlib.resources import files


def read_table(name: str) -> dict[str, list[str]]:
    """Read ``resources/<name>.txt``.

    Lines that begin with ``#`` are comments, ``[section]`` opens a section; rows before the first are in ``""``.

    Returns:
        Rows by section, both in file order.
    """
    text = (files("tangka_match.demo") / "resources" / f"{name}.txt").read_text(encoding="utf-8")
    sections: dict[str, list[str]] = {}
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            sections.setdefault(section, []).append(line)
    return sections


@dataclass(frozen=True)
class Figure:
    """One figure and its typical attributes, all given as concept keys.

    Args:
        key: Name of the figure's concept.
        family: Class of beings: ``buddha``, ``bodhisattva``, ``tara``, ``yidam``, ``protector``, ``dakini``,
            ``master``, ``wealth`` or ``king``.
        colour: Body colour.
        posture: How the figure sits, stands or dances.
        faces: Number of faces.
        arms: Number of arms.
        hands: Implements, the right hand first.
        gesture: Mudra of a free hand.
        seat: Throne or mount.
        temper: Expression of the face.
        names: What captions call it, the commonest name first.
    """

    key: str
    family: str
    colour: str
    posture: str
    faces: str
    arms: str
    hands: tuple[str, ...]
    gesture: str
    seat: str
    temper: str
    names: tuple[str, ...]


def _parse(line: str) -> Figure:
    """Read one row of ``resources/figures.txt``.

    >>> _parse("kind_one tara green ease one two utpala,- giving mat kind : 甲 乙").names
    ('甲', '乙')
    """
    left, names = line.split(" : ")
    key, family, colour, posture, faces, arms, hands, gesture, seat, temper = left.split()
    held = tuple(hand for hand in hands.split(",") if hand != "-")
    return Figure(key, family, colour, posture, faces, arms, held, gesture, seat, temper, tuple(names.split()))


FIGURES: tuple[Figure, ...] = tuple(_parse(line) for line in read_table("figures")[""])
"""All figures, the best known first; earlier ones are painted more often."""


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
