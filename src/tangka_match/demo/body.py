"""Drawing of bodies: central figure, small figures and attendants."""

from dataclasses import dataclass
from math import cos, pi, sin

from tangka_match.demo.pen import COLOURS, Colour, Pen, Point, mix

_FACES = {"one": 1, "two": 2, "three": 3, "four": 4, "eight": 8, "nine": 9, "eleven": 11, "many_faces": 15}
_ARMS = {"two": 2, "four": 4, "six": 6, "eight": 8, "twelve": 12, "sixteen": 16, "many": 20, "thousand": 40}
_FIERCE = frozenset(("glaring", "wrathful", "furious", "laughing"))


@dataclass(frozen=True)
class Body:
    """Appearance of a body, as concept keys of ``lexicon.py``.

    Args:
        colour: Colour of the skin.
        cloth: Colour of the garment.
        posture: Posture, sitting or standing.
        faces: Number of faces.
        arms: Number of arms.
        temper: Facial expression.
        crown: Shape and colour of the headdress.
        right: Position of the right hand (left side of the picture), in the unit square.
        left: Position of the left hand.
    """

    colour: Colour
    cloth: Colour
    posture: str = "lotus"
    faces: str = "one"
    arms: str = "two"
    temper: str = "serene"
    crown: tuple[str, Colour] = ("crown", COLOURS["gold"])
    right: Point = (0.3, 0.66)
    left: Point = (0.7, 0.66)


def draw_body(pen: Pen, body: Body) -> None:
    """Draw a body that fills the unit square of the pen, head at the top."""
    pen = pen.within(0, 0, 1, 1, body.colour)
    _far_arms(pen, body)
    _legs(pen, body)
    pen.area([(0.34, 0.36), (0.66, 0.36), (0.6, 0.7), (0.4, 0.7)])
    pen.area([(0.34, 0.36), (0.44, 0.36), (0.6, 0.68), (0.5, 0.7)], body.cloth)  # the sash
    pen.bend(0.38, 0.26, 0.62, 0.5, start=20, end=160, width=0.02)
    gold = pen.within(0, 0, 1, 1, COLOURS["gold"])
    gold.bend(0.37, 0.24, 0.63, 0.5, start=20, end=160, width=0.02)
    for side, hand in ((0.36, body.right), (0.64, body.left)):
        _arm(pen, (side, 0.4), hand)
    _heads(pen, body)


def _arm(pen: Pen, shoulder: Point, hand: Point) -> None:
    outward = -0.08 if hand[0] < shoulder[0] else 0.08
    elbow = ((shoulder[0] + hand[0]) / 2 + outward, max(shoulder[1], hand[1]) + 0.08)
    pen.limb([shoulder, elbow, hand], 0.075)
    pen.oval(hand[0] - 0.04, hand[1] - 0.04, hand[0] + 0.04, hand[1] + 0.04)


def _far_arms(pen: Pen, body: Body) -> None:
    extra = (_ARMS[body.arms] - 2) // 2
    for pair in range(extra):
        angle = pi * (0.08 + 0.36 * (pair + 0.5) / extra)
        reach = 0.5 if pair % 2 or extra < 6 else 0.42
        for side in (-1, 1):
            hand = (0.5 + side * reach * cos(angle), 0.45 - reach * sin(angle))
            shoulder = (0.5 + side * 0.13, 0.4)
            pen.limb([shoulder, hand], 0.055 if extra < 6 else 0.035)
            pen.oval(hand[0] - 0.03, hand[1] - 0.03, hand[0] + 0.03, hand[1] + 0.03)


def _legs(pen: Pen, body: Body) -> None:
    cloth, skin = body.cloth, body.colour
    if body.posture in ("lotus", "half"):
        pen.area(
            [(0.04, 0.9), (0.14, 0.74), (0.38, 0.66), (0.62, 0.66), (0.86, 0.74), (0.96, 0.9), (0.8, 1.0), (0.2, 1.0)],
            cloth,
        )
        pen.limb([(0.2, 0.94), (0.62, 0.86)], 0.08, skin if body.posture == "lotus" else cloth)
        pen.limb([(0.8, 0.94), (0.38, 0.86)], 0.08, skin)
    elif body.posture == "ease":
        pen.area([(0.08, 0.88), (0.38, 0.66), (0.62, 0.66), (0.8, 0.8), (0.6, 0.96), (0.16, 0.98)], cloth)
        pen.limb([(0.6, 0.74), (0.86, 0.82), (0.84, 1.04)], 0.11, cloth)
        pen.limb([(0.84, 1.04), (0.94, 1.06)], 0.06, skin)
        pen.limb([(0.2, 0.94), (0.52, 0.88)], 0.08, skin)
    elif body.posture in ("feet_down", "side"):
        spread = 0.16 if body.posture == "feet_down" else 0.28
        for side in (-1, 1):
            knee, foot = 0.5 + side * spread, 0.5 + side * (spread + 0.02)
            pen.limb([(0.5 + side * 0.07, 0.68), (knee, 0.78), (foot, 1.04)], 0.14, cloth)
            pen.limb([(foot, 1.05), (foot + side * 0.07, 1.06)], 0.06, skin)
    else:
        _standing_legs(pen, body)


def _standing_legs(pen: Pen, body: Body) -> None:
    paths: dict[str, tuple[list[Point], list[Point]]] = {
        "stand": ([(0.45, 0.66), (0.44, 1.04)], [(0.55, 0.66), (0.56, 1.04)]),
        "warrior": ([(0.45, 0.66), (0.2, 0.8), (0.22, 1.04)], [(0.55, 0.66), (0.72, 0.84), (0.92, 1.02)]),
        "dance": ([(0.46, 0.66), (0.42, 0.84), (0.46, 1.06)], [(0.55, 0.66), (0.82, 0.76), (0.56, 0.9)]),
    }
    for path in paths[body.posture]:
        pen.limb(path, 0.11)
        pen.limb([path[-1], (path[-1][0] + 0.07, path[-1][1] + 0.01)], 0.06)
    pen.area([(0.36, 0.62), (0.64, 0.62), (0.74, 0.84), (0.6, 0.8), (0.5, 0.86), (0.4, 0.8), (0.26, 0.84)], body.cloth)


def _heads(pen: Pen, body: Body) -> None:
    count = _FACES[body.faces]
    side_heads = min(2, count - 1) if count < 8 else 2
    for side in (-1, 1)[:side_heads]:
        x = 0.5 + side * 0.14
        pen.oval(x - 0.08, 0.13, x + 0.08, 0.33, pen.shade)
        pen.oval(x + side * 0.03 - 0.015, 0.2, x + side * 0.03 + 0.015, 0.23, pen.ink)
    for tier in range(max(0, (count - 3 + 2) // 3)):
        y = 0.02 - tier * 0.085
        for x in (0.42, 0.5, 0.58):
            pen.oval(x - 0.045, y - 0.05, x + 0.045, y + 0.06, mix(body.colour, COLOURS["gold"], 0.15 * tier))
    if body.temper in _FIERCE:
        hair = [(0.5 + 0.22 * cos(a), 0.16 + 0.24 * sin(a)) for a in (pi + pi * s / 8 for s in range(9))]
        spiky = [
            (0.5 + (x - 0.5) * (1.2 if n % 2 else 0.8), 0.16 + (y - 0.16) * (1.2 if n % 2 else 0.8))
            for n, (x, y) in enumerate(hair)
        ]
        pen.area(spiky, COLOURS["orange"])
    for x in (0.37, 0.59):
        pen.oval(x, 0.2, x + 0.04, 0.36)  # long ears
    pen.oval(0.38, 0.06, 0.62, 0.36)
    _face(pen, body.temper)
    _headdress(pen, *body.crown)


def _face(pen: Pen, temper: str) -> None:
    if temper in _FIERCE:
        for x in (0.43, 0.52):
            pen.oval(x, 0.17, x + 0.055, 0.225, COLOURS["white"])
            pen.oval(x + 0.015, 0.185, x + 0.04, 0.212, COLOURS["red"])
        pen.oval(0.475, 0.115, 0.525, 0.16, COLOURS["white"])
        pen.area([(0.44, 0.275), (0.56, 0.275), (0.54, 0.325), (0.46, 0.325)], COLOURS["red"])
        for x in (0.45, 0.53):
            pen.area([(x, 0.275), (x + 0.02, 0.275), (x + 0.01, 0.31)], COLOURS["white"], outline=False)
        return
    for x in (0.43, 0.52):
        pen.stroke([(x, 0.195), (x + 0.025, 0.205), (x + 0.05, 0.195)], 0.012, pen.ink)
        pen.stroke([(x, 0.165), (x + 0.025, 0.155), (x + 0.05, 0.165)], 0.008, pen.ink)
    pen.stroke([(0.5, 0.2), (0.49, 0.25), (0.51, 0.255)], 0.008, pen.ink)
    pen.stroke([(0.465, 0.288), (0.5, 0.3), (0.535, 0.288)], 0.014, COLOURS["red"])
    pen.oval(0.488, 0.125, 0.512, 0.147, COLOURS["red"], outline=False)


def _headdress(pen: Pen, shape: str, colour: Colour) -> None:
    if shape == "crown":
        for x in (0.38, 0.43, 0.48, 0.53, 0.58):
            pen.area([(x - 0.02, 0.12), (x + 0.02, -0.02 - 0.03 * (x == 0.48)), (x + 0.06, 0.12)], colour)
    elif shape == "knob":
        pen.area([(0.38, 0.14), (0.42, 0.04), (0.58, 0.04), (0.62, 0.14), (0.5, 0.09)], mix(colour, (0, 0, 0), 0.4))
        pen.oval(0.45, -0.05, 0.55, 0.07, mix(colour, (0, 0, 0), 0.4))
        pen.oval(0.485, -0.075, 0.515, -0.035, COLOURS["red"])
    elif shape == "hat":
        pen.area([(0.3, 0.2), (0.38, 0.08), (0.5, -0.14), (0.62, 0.08), (0.7, 0.2), (0.6, 0.12), (0.4, 0.12)], colour)
    else:
        pen.area(
            [(0.38, 0.12), (0.36, -0.08), (0.44, 0.0), (0.5, -0.16), (0.56, 0.0), (0.64, -0.08), (0.62, 0.12)], colour
        )
