"""Glyphs of objects: implements, offerings, thrones, buildings. Each is drawn in the unit square of a pen."""

from collections.abc import Callable
from math import cos, pi, sin

from tangka_match.demo.pen import COLOURS, Pen

_GOLD = COLOURS["gold"]


def _vajra(pen: Pen) -> None:
    pen.limb([(0.5, 0.3), (0.5, 0.7)], 0.14)
    for top, bottom in ((0.02, 0.38), (0.62, 0.98)):
        pen.oval(0.3, top, 0.7, bottom)
        pen.oval(0.43, top + 0.06, 0.57, bottom - 0.06, pen.shade)


def _bell(pen: Pen) -> None:
    pen.limb([(0.5, 0.05), (0.5, 0.4)], 0.12)
    pen.area([(0.35, 0.35), (0.65, 0.35), (0.85, 0.88), (0.15, 0.88)])
    pen.oval(0.42, 0.82, 0.58, 0.98, pen.shade)


def _flower(pen: Pen) -> None:
    pen.stroke([(0.5, 0.5), (0.55, 0.98)], 0.08, COLOURS["green"])
    for step in range(6):
        x, y = 0.5 + 0.25 * cos(step * pi / 3), 0.35 + 0.25 * sin(step * pi / 3)
        pen.oval(x - 0.18, y - 0.18, x + 0.18, y + 0.18)
    pen.oval(0.38, 0.23, 0.62, 0.47, COLOURS["yellow"])


def _beads(pen: Pen) -> None:
    for step in range(12):
        x, y = 0.5 + 0.36 * cos(step * pi / 6), 0.5 + 0.42 * sin(step * pi / 6)
        pen.oval(x - 0.1, y - 0.1, x + 0.1, y + 0.1)


def _sword(pen: Pen) -> None:
    pen.area([(0.42, 0.68), (0.42, 0.15), (0.5, 0.0), (0.58, 0.15), (0.58, 0.68)])
    pen.limb([(0.25, 0.7), (0.75, 0.7)], 0.08, _GOLD)
    pen.limb([(0.5, 0.72), (0.5, 0.95)], 0.1, COLOURS["brown"])
    pen.oval(0.44, 0.0, 0.56, 0.14, COLOURS["orange"], outline=False)


def _book(pen: Pen) -> None:
    pen.block(0.08, 0.36, 0.92, 0.7)
    pen.block(0.08, 0.44, 0.92, 0.62, COLOURS["white"])
    pen.block(0.28, 0.34, 0.38, 0.72, COLOURS["red"])
    pen.block(0.62, 0.34, 0.72, 0.72, COLOURS["red"])


def _bowl(pen: Pen) -> None:
    pen.area([(0.08, 0.4), (0.92, 0.4), (0.78, 0.78), (0.6, 0.9), (0.4, 0.9), (0.22, 0.78)])
    pen.oval(0.08, 0.28, 0.92, 0.52, COLOURS["red"])


def _axe(pen: Pen) -> None:
    pen.limb([(0.5, 0.1), (0.5, 0.5)], 0.1, _GOLD)
    pen.area([(0.1, 0.5), (0.9, 0.5), (0.95, 0.7), (0.7, 0.9), (0.3, 0.9), (0.05, 0.7)])


def _jewel(pen: Pen) -> None:
    for x, y in ((0.3, 0.7), (0.7, 0.7), (0.5, 0.42)):
        pen.oval(x - 0.22, y - 0.22, x + 0.22, y + 0.22)
        pen.oval(x - 0.1, y - 0.14, x, y - 0.04, pen.light, outline=False)
    pen.area([(0.42, 0.2), (0.5, 0.0), (0.58, 0.2)], COLOURS["orange"])


def _vase(pen: Pen) -> None:
    pen.oval(0.2, 0.4, 0.8, 0.92)
    pen.area([(0.38, 0.45), (0.34, 0.2), (0.66, 0.2), (0.62, 0.45)])
    pen.block(0.3, 0.88, 0.7, 0.98, pen.shade)
    pen.oval(0.32, 0.0, 0.68, 0.26, COLOURS["green"])


def _ring(pen: Pen) -> None:
    pen.loop(0.12, 0.05, 0.88, 0.81, 0.16, colour=pen.ink)
    pen.loop(0.14, 0.07, 0.86, 0.79, 0.11)
    pen.limb([(0.5, 0.8), (0.5, 0.98)], 0.1)


def _wheel(pen: Pen) -> None:
    pen.oval(0.06, 0.06, 0.94, 0.94)
    pen.oval(0.2, 0.2, 0.8, 0.8, pen.light)
    for step in range(4):
        x, y = 0.44 * cos(step * pi / 4), 0.44 * sin(step * pi / 4)
        pen.stroke([(0.5 - x, 0.5 - y), (0.5 + x, 0.5 + y)], 0.07, pen.shade)
    pen.oval(0.4, 0.4, 0.6, 0.6, COLOURS["red"])


def _club(pen: Pen) -> None:
    pen.limb([(0.5, 0.35), (0.5, 0.98)], 0.1)
    pen.oval(0.28, 0.02, 0.72, 0.42)
    for x in (0.38, 0.54):
        pen.oval(x, 0.16, x + 0.1, 0.27, pen.ink)


def _banner(pen: Pen) -> None:
    pen.limb([(0.5, 0.0), (0.5, 0.98)], 0.07, _GOLD)
    for level, colour in enumerate((pen.colour, _GOLD, COLOURS["green"])):
        pen.block(0.24, 0.12 + 0.2 * level, 0.76, 0.32 + 0.2 * level, colour)
    pen.area([(0.24, 0.72), (0.76, 0.72), (0.5, 0.92)])


def _staff(pen: Pen) -> None:
    pen.limb([(0.5, 0.2), (0.5, 0.98)], 0.08)
    pen.area([(0.5, 0.0), (0.66, 0.14), (0.5, 0.3), (0.34, 0.14)], pen.light)
    pen.loop(0.32, 0.2, 0.68, 0.46, 0.07)


def _umbrella(pen: Pen) -> None:
    pen.limb([(0.5, 0.3), (0.5, 0.98)], 0.07, _GOLD)
    pen.area([(0.04, 0.46), (0.3, 0.12), (0.5, 0.04), (0.7, 0.12), (0.96, 0.46)])
    for step in range(5):
        pen.area([(0.04 + 0.184 * step, 0.46), (0.224 + 0.184 * step, 0.46), (0.132 + 0.184 * step, 0.6)], _GOLD)


def _lute(pen: Pen) -> None:
    pen.limb([(0.5, 0.5), (0.72, 0.04)], 0.09)
    pen.oval(0.18, 0.42, 0.68, 0.98)
    pen.oval(0.34, 0.62, 0.52, 0.8, pen.shade)


def _bow(pen: Pen) -> None:
    pen.bend(-0.1, 0.02, 0.8, 0.98, start=-80, end=80, width=0.1)
    pen.stroke([(0.42, 0.03), (0.42, 0.97)], 0.03, COLOURS["white"])


def _arrow(pen: Pen) -> None:
    pen.stroke([(0.15, 0.9), (0.8, 0.18)], 0.07, COLOURS["brown"])
    pen.area([(0.95, 0.02), (0.88, 0.32), (0.66, 0.12)])
    pen.area([(0.05, 0.98), (0.1, 0.72), (0.3, 0.9)], COLOURS["white"])


def _dagger(pen: Pen) -> None:
    pen.area([(0.32, 0.5), (0.68, 0.5), (0.5, 1.0)])
    pen.limb([(0.5, 0.15), (0.5, 0.5)], 0.12, _GOLD)
    pen.oval(0.36, 0.0, 0.64, 0.24, COLOURS["red"])


def _trident(pen: Pen) -> None:
    pen.limb([(0.5, 0.1), (0.5, 0.98)], 0.08)
    pen.limb([(0.22, 0.05), (0.24, 0.34), (0.5, 0.44), (0.76, 0.34), (0.78, 0.05)], 0.07)


def _stupa(pen: Pen) -> None:
    pen.block(0.14, 0.78, 0.86, 0.98)
    pen.block(0.24, 0.64, 0.76, 0.8)
    pen.oval(0.26, 0.34, 0.74, 0.74)
    pen.area([(0.42, 0.4), (0.58, 0.4), (0.5, 0.02)], _GOLD)


def _serpent(pen: Pen) -> None:
    pen.limb([(0.1, 0.9), (0.35, 0.7), (0.65, 0.75), (0.75, 0.5), (0.4, 0.42), (0.35, 0.22), (0.7, 0.14)], 0.12)
    pen.oval(0.62, 0.02, 0.94, 0.26)
    pen.oval(0.76, 0.08, 0.84, 0.15, pen.ink)


def _shell(pen: Pen) -> None:
    pen.area([(0.2, 0.2), (0.6, 0.05), (0.9, 0.35), (0.75, 0.7), (0.3, 0.98)])
    pen.bend(0.3, 0.15, 0.8, 0.65, start=20, end=300, width=0.05)
    pen.stroke([(0.35, 0.3), (0.7, 0.45), (0.4, 0.8)], 0.05, pen.shade)


def _drum(pen: Pen) -> None:
    pen.area([(0.08, 0.2), (0.46, 0.45), (0.46, 0.6), (0.08, 0.85)])
    pen.area([(0.92, 0.2), (0.54, 0.45), (0.54, 0.6), (0.92, 0.85)])
    pen.block(0.44, 0.42, 0.56, 0.62, _GOLD)


def _animal(pen: Pen) -> None:
    pen.oval(0.1, 0.35, 0.75, 0.85)
    pen.oval(0.6, 0.2, 0.95, 0.55)
    pen.oval(0.78, 0.3, 0.86, 0.38, pen.ink)
    pen.oval(0.84, 0.5, 0.98, 0.64, COLOURS["red"])


def _branch(pen: Pen) -> None:
    pen.stroke([(0.5, 0.98), (0.5, 0.1)], 0.07, COLOURS["brown"])
    for y in (0.15, 0.38, 0.61):
        pen.oval(0.08, y, 0.48, y + 0.22)
        pen.oval(0.52, y - 0.04, 0.92, y + 0.18)


def _fruit(pen: Pen) -> None:
    for x, y in ((0.3, 0.5), (0.62, 0.5), (0.46, 0.28)):
        pen.oval(x - 0.18, y - 0.18, x + 0.18, y + 0.18)
    pen.area([(0.08, 0.62), (0.92, 0.62), (0.7, 0.92), (0.3, 0.92)], COLOURS["white"])


def _lamp(pen: Pen) -> None:
    pen.area([(0.15, 0.45), (0.85, 0.45), (0.6, 0.72), (0.4, 0.72)])
    pen.block(0.36, 0.72, 0.64, 0.96)
    pen.area([(0.38, 0.45), (0.5, 0.02), (0.62, 0.45)], COLOURS["orange"])
    pen.area([(0.45, 0.45), (0.5, 0.22), (0.55, 0.45)], COLOURS["yellow"], outline=False)


def _cone(pen: Pen) -> None:
    pen.area([(0.18, 0.92), (0.5, 0.02), (0.82, 0.92)])
    for y in (0.4, 0.62):
        pen.oval(0.42, y, 0.58, y + 0.14, COLOURS["white"])


def _throne(pen: Pen) -> None:
    pen.block(0.02, 0.3, 0.98, 0.52, pen.light)
    pen.area([(0.08, 0.52), (0.92, 0.52), (0.84, 0.8), (0.16, 0.8)])
    pen.block(0.02, 0.8, 0.98, 0.98)
    for x in (0.2, 0.4, 0.6, 0.8):
        pen.oval(x - 0.05, 0.56, x + 0.05, 0.76, _GOLD)
    pen.area([(0.36, 0.52), (0.64, 0.52), (0.5, 0.95)], COLOURS["red"])


def _lotus(pen: Pen) -> None:
    pen.oval(0.06, 0.22, 0.94, 0.62, pen.light)
    for step in range(9):
        x = 0.02 + step * 0.107
        pen.area([(x, 0.44), (x + 0.053, 0.34), (x + 0.106, 0.44), (x + 0.07, 0.72), (x + 0.03, 0.72)])
    for step in range(8):
        x = 0.07 + step * 0.107
        pen.area([(x, 0.66), (x + 0.053, 0.58), (x + 0.106, 0.66), (x + 0.053, 0.98)], pen.shade)


def _temple(pen: Pen) -> None:
    pen.block(0.14, 0.5, 0.86, 0.98)
    pen.block(0.28, 0.26, 0.72, 0.5, pen.light)
    for y, half in ((0.5, 0.48), (0.26, 0.34)):
        pen.area([(0.5 - half, y), (0.5 - half * 0.7, y - 0.14), (0.5 + half * 0.7, y - 0.14), (0.5 + half, y)], _GOLD)
    pen.block(0.42, 0.68, 0.58, 0.98, COLOURS["dark"])
    for x in (0.22, 0.68):
        pen.block(x, 0.6, x + 0.1, 0.76, COLOURS["white"])


def _tent(pen: Pen) -> None:
    pen.area([(0.04, 0.95), (0.22, 0.4), (0.5, 0.15), (0.78, 0.4), (0.96, 0.95)])
    pen.area([(0.4, 0.95), (0.5, 0.45), (0.6, 0.95)], COLOURS["dark"])


def _bridge(pen: Pen) -> None:
    pen.bend(0.05, 0.35, 0.95, 1.2, start=180, end=360, width=0.16)
    for x in (0.2, 0.4, 0.6, 0.8):
        pen.stroke([(x, 0.25), (x, 0.5)], 0.05)
    pen.stroke([(0.05, 0.4), (0.3, 0.22), (0.7, 0.22), (0.95, 0.4)], 0.05)


def _flags(pen: Pen) -> None:
    pen.stroke([(0.0, 0.2), (0.5, 0.4), (1.0, 0.15)], 0.03, pen.ink)
    for step, name in enumerate(("blue", "white", "red", "green", "yellow")):
        x, y = 0.04 + 0.19 * step, 0.24 + (0.14 if step in (1, 2, 3) else 0.02)
        pen.block(x, y, x + 0.15, y + 0.32, COLOURS[name])


def _hand(pen: Pen) -> None:
    pen.oval(0.25, 0.35, 0.75, 0.9)
    for x in (0.28, 0.42, 0.56):
        pen.limb([(x + 0.06, 0.5), (x + 0.06, 0.15)], 0.12)


OBJECTS: dict[str, Callable[[Pen], None]] = {
    draw.__name__.removeprefix("_"): draw
    for draw in (
        _vajra, _bell, _flower, _beads, _sword, _book, _bowl, _axe, _jewel, _vase, _ring, _wheel, _club,
        _banner, _staff, _umbrella, _lute, _bow, _arrow, _dagger, _trident, _stupa, _serpent, _shell, _drum,
        _animal, _branch, _fruit, _lamp, _cone, _throne, _lotus, _temple, _tent, _bridge, _flags, _hand,
    )
}  # fmt: skip
"""Glyph by the shape name in ``resources/lexicon.txt``."""
