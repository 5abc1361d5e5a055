"""The central figures of the demo set: what each one looks like in most paintings, and what people call it.

A figure's attributes are *typical*, not fixed: ``grammar.py`` follows each of them with a certain probability and else
draws at random, as painters of different schools do. Their keys are those of ``resources/lexicon.txt``.
"""

from dataclasses import dataclass

from tangka_match.data.demo.tables import read_table


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
