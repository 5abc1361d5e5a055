"""Concepts that a painting can show, with their Chinese terms, and the central figures."""

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Figure:
    """Central figure with its typical attributes, as concept keys.

    Args:
        key: Key of the figure's concept.
        family: Class of the figure: ``buddha``, ``bodhisattva``, ``tara``, ``yidam``, ``protector``, ``dakini``,
            ``master``, ``wealth`` or ``king``.
        colour: Body colour.
        posture: Posture, sitting, standing or dancing.
        faces: Number of faces.
        arms: Number of arms.
        hands: Implements, right hand first.
        gesture: Mudra of a free hand.
        seat: Throne or mount.
        temper: Facial expression.
        names: Chinese names, the most common first.
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


@dataclass(frozen=True)
class Concept:
    """Concept that a painting can show and a caption can mention.

    Args:
        kind: Section of ``resources/lexicon.txt``, such as ``hand`` or ``offering``, or ``figure``.
        key: Short English name, unique within the kind.
        shape: Glyph drawn by ``painting.py``, or ``-``.
        colour: Colour name of the glyph, or ``-``.
        terms: Chinese synonyms, the most common first.
    """

    kind: str
    key: str
    shape: str
    colour: str
    terms: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique name ``kind:key``."""
        return f"{self.kind}:{self.key}"


def read_table(name: str) -> dict[str, list[str]]:
    """Read ``resources/<name>.txt``.

    Lines that begin with ``#`` are comments, ``[section]`` starts a section; rows before the first are in ``""``.

    Returns:
        Rows of each section, in file order.
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


def _parse_figure(line: str) -> Figure:
    """Parse a row of ``resources/figures.txt``.

    >>> _parse_figure("kind_one tara green ease one two utpala,- giving mat kind : 甲 乙").names
    ('甲', '乙')
    """
    left, names = line.split(" : ")
    key, family, colour, posture, faces, arms, hands, gesture, seat, temper = left.split()
    held = tuple(hand for hand in hands.split(",") if hand != "-")
    return Figure(key, family, colour, posture, faces, arms, held, gesture, seat, temper, tuple(names.split()))


def _parse_concept(kind: str, row: str) -> Concept:
    """Parse a row ``key shape colour : term term …`` of ``resources/lexicon.txt``.

    Example:
        >>> _parse_concept("hand", "bell bell gold : 金刚铃 铃")
        Concept(kind='hand', key='bell', shape='bell', colour='gold', terms=('金刚铃', '铃'))
    """
    left, terms = row.split(" : ")
    key, shape, colour = left.split()
    return Concept(kind, key, shape, colour, tuple(terms.split()))


FIGURES: tuple[Figure, ...] = tuple(_parse_figure(line) for line in read_table("figures")[""])
"""All figures, the best known first; earlier ones occur more often."""

KINDS: dict[str, tuple[Concept, ...]] = {
    "figure": tuple(Concept("figure", figure.key, "-", "-", figure.names) for figure in FIGURES),
    **{kind: tuple(_parse_concept(kind, row) for row in rows) for kind, rows in read_table("lexicon").items()},
}
"""Concepts of each kind, in file order."""

CONCEPTS: tuple[Concept, ...] = tuple(concept for concepts in KINDS.values() for concept in concepts)
"""All concepts; scenes and feature codes use the index in this tuple."""

NUMBER: dict[str, int] = {concept.name: number for number, concept in enumerate(CONCEPTS)}
"""Index in ``CONCEPTS`` by ``kind:key``."""
