"""Glyphs of nature, animals and persons, each drawn in the unit square of a pen."""

from collections.abc import Callable
from math import cos, pi, sin

from tangka_match.demo.pen import COLOURS, Pen, mix

_WHITE = COLOURS["white"]
_GREEN = COLOURS["green"]


def _mountain(pen: Pen) -> None:
    for shift, colour in ((0.3, mix(pen.colour, COLOURS["blue"], 0.45)), (0.0, mix(pen.colour, COLOURS["teal"], 0.25))):
        peaks = [
            (0.0, 1.0),
            (0.16, 0.45 - shift / 3),
            (0.3, 0.7),
            (0.52, 0.12 + shift / 2),
            (0.76, 0.66),
            (0.9, 0.4),
            (1.0, 1.0),
        ]
        pen.area(peaks, colour)
    pen.area([(0.52, 0.12), (0.62, 0.34), (0.54, 0.3), (0.49, 0.38), (0.42, 0.34)], pen.light)
    pen.area([(0.16, 0.45), (0.22, 0.58), (0.16, 0.55), (0.1, 0.6)], pen.light)


def _rock(pen: Pen) -> None:
    pen.area([(0.05, 1.0), (0.1, 0.5), (0.3, 0.3), (0.45, 0.45), (0.6, 0.12), (0.85, 0.35), (0.95, 1.0)])
    pen.stroke([(0.3, 0.3), (0.36, 0.6), (0.3, 0.8)], 0.03, pen.shade)
    pen.stroke([(0.6, 0.12), (0.66, 0.5), (0.58, 0.75)], 0.03, pen.shade)
    pen.oval(0.42, 0.68, 0.66, 1.0, COLOURS["dark"])


def _water(pen: Pen) -> None:
    pen.oval(0.05, 0.55, 0.95, 1.0, mix(pen.colour, COLOURS["blue"], 0.35))
    for y in (0.66, 0.76, 0.86):
        pen.stroke([(0.18, y), (0.32, y - 0.05), (0.46, y), (0.6, y - 0.05), (0.74, y), (0.84, y - 0.03)], 0.03, _WHITE)


def _pond(pen: Pen) -> None:
    _water(pen.within(0, 0, 1, 1, COLOURS["teal"]))
    for x, y in ((0.3, 0.6), (0.55, 0.7), (0.74, 0.58)):
        pen.area(
            [(x - 0.09, y), (x - 0.05, y - 0.12), (x, y - 0.02), (x, y - 0.18), (x + 0.05, y - 0.12), (x + 0.09, y)]
        )


def _field(pen: Pen) -> None:
    pen.oval(0.0, 0.5, 1.0, 1.2)
    for step in range(7):
        x = 0.12 + step * 0.12
        pen.stroke([(x, 0.8), (x + 0.02, 0.64)], 0.03, pen.shade)


def _cloud(pen: Pen) -> None:
    for x0, y0, x1, y1 in (
        (0.0, 0.4, 0.45, 0.95),
        (0.2, 0.05, 0.65, 0.7),
        (0.5, 0.25, 0.95, 0.9),
        (0.3, 0.45, 0.75, 1.0),
    ):
        pen.oval(x0, y0, x1, y1)
    pen.bend(0.28, 0.2, 0.55, 0.6, start=160, end=400, width=0.08)
    pen.oval(0.3, 0.5, 0.7, 0.86, pen.light, outline=False)


def _sun(pen: Pen) -> None:
    pen.oval(0.22, 0.05, 0.78, 0.95, pen.light)
    pen.oval(0.3, 0.18, 0.7, 0.82)


def _rainbow(pen: Pen) -> None:
    for step, name in enumerate(("red", "orange", "yellow", "green", "blue")):
        inset = 0.07 * step
        pen.within(0, 0, 1, 1, COLOURS[name]).bend(
            inset, 0.05 + inset, 1 - inset, 1.8 - inset, start=180, end=360, width=0.14
        )


def _star(pen: Pen) -> None:
    for x, y in ((0.2, 0.3), (0.5, 0.6), (0.8, 0.25), (0.35, 0.85), (0.7, 0.8)):
        pen.area([(x, y - 0.18), (x + 0.04, y), (x, y + 0.18), (x - 0.04, y)])
        pen.area([(x - 0.09, y), (x, y + 0.05), (x + 0.09, y), (x, y - 0.05)], outline=False)


def _petals(pen: Pen) -> None:
    for x, y in ((0.1, 0.3), (0.3, 0.7), (0.5, 0.2), (0.62, 0.8), (0.8, 0.4), (0.92, 0.75)):
        pen.oval(x - 0.07, y - 0.14, x + 0.07, y + 0.14)


def _bolt(pen: Pen) -> None:
    _cloud(pen.within(0.1, 0.0, 0.9, 0.6, COLOURS["grey"]))
    pen.area([(0.45, 0.5), (0.62, 0.5), (0.52, 0.72), (0.64, 0.72), (0.4, 1.0), (0.48, 0.78), (0.36, 0.78)])


def _tree(pen: Pen) -> None:
    pen.limb([(0.5, 0.98), (0.5, 0.5)], 0.12, COLOURS["brown"])
    crown = mix(pen.colour, _GREEN, 0.45)
    for x, y in ((0.28, 0.45), (0.72, 0.45), (0.5, 0.25), (0.5, 0.5)):
        pen.oval(x - 0.26, y - 0.22, x + 0.26, y + 0.22, crown)
    for x, y in ((0.25, 0.4), (0.48, 0.2), (0.7, 0.42), (0.52, 0.5), (0.38, 0.56)):
        pen.oval(x - 0.06, y - 0.05, x + 0.06, y + 0.05, pen.colour)


def _deer(pen: Pen) -> None:
    for x in (0.2, 0.32, 0.6, 0.7):
        pen.limb([(x, 0.6), (x, 0.97)], 0.07)
    pen.oval(0.12, 0.42, 0.78, 0.76)
    pen.limb([(0.7, 0.52), (0.82, 0.3)], 0.13)
    pen.oval(0.74, 0.14, 0.98, 0.36)
    pen.stroke([(0.8, 0.16), (0.72, 0.0)], 0.05, pen.ink)
    pen.oval(0.86, 0.2, 0.91, 0.26, pen.ink)


def _birdlet(pen: Pen) -> None:
    pen.oval(0.2, 0.45, 0.75, 0.8)
    pen.limb([(0.66, 0.52), (0.8, 0.25)], 0.09)
    pen.oval(0.72, 0.1, 0.92, 0.32)
    pen.area([(0.9, 0.18), (1.0, 0.22), (0.9, 0.26)], COLOURS["orange"])
    pen.area([(0.25, 0.5), (0.0, 0.4), (0.05, 0.7)], pen.shade)
    for x in (0.42, 0.54):
        pen.stroke([(x, 0.78), (x, 0.98)], 0.05, pen.ink)


def _fish(pen: Pen) -> None:
    for y in (0.28, 0.68):
        pen.oval(0.15, y - 0.16, 0.78, y + 0.16)
        pen.area([(0.74, y), (0.96, y - 0.16), (0.96, y + 0.16)])
        pen.oval(0.24, y - 0.06, 0.31, y + 0.02, pen.ink)


def _beast(pen: Pen) -> None:
    for x in (0.2, 0.34, 0.64, 0.78):
        pen.limb([(x, 0.6), (x, 0.95)], 0.16)
    pen.oval(0.08, 0.2, 0.9, 0.8)
    pen.limb([(0.1, 0.4), (0.0, 0.2), (0.04, 0.05)], 0.1, pen.light)
    pen.oval(0.72, 0.02, 1.02, 0.6, pen.light)
    pen.oval(0.78, 0.1, 1.0, 0.52)
    pen.oval(0.84, 0.2, 0.88, 0.3, pen.ink)
    pen.oval(0.92, 0.2, 0.96, 0.3, pen.ink)
    pen.stroke([(0.84, 0.42), (0.95, 0.42)], 0.05, COLOURS["red"])


def _bird(pen: Pen) -> None:
    pen.area([(0.3, 0.4), (0.0, 0.05), (0.05, 0.5), (0.2, 0.75)], pen.light)
    pen.area([(0.7, 0.4), (1.0, 0.05), (0.95, 0.5), (0.8, 0.75)], pen.light)
    pen.oval(0.2, 0.25, 0.8, 0.85)
    pen.limb([(0.5, 0.45), (0.5, 0.15)], 0.2)
    pen.oval(0.4, 0.0, 0.6, 0.34)
    pen.area([(0.46, 0.2), (0.54, 0.2), (0.5, 0.36)], COLOURS["orange"])
    for x in (0.4, 0.6):
        pen.limb([(x, 0.8), (x, 0.98)], 0.08, COLOURS["orange"])


def _flames(pen: Pen) -> None:
    for colour, reach in ((pen.colour, 1.0), (COLOURS["orange"], 0.9), (COLOURS["yellow"], 0.78)):
        points = []
        for step in range(36):
            angle, radius = step * pi / 18, 0.5 * reach * (1.0 if step % 2 else 0.84)
            points.append((0.5 + radius * cos(angle), 0.5 + radius * sin(angle)))
        pen.area(points, colour, outline=False)
    pen.oval(0.16, 0.16, 0.84, 0.84, mix(COLOURS["dark"], pen.colour, 0.25))


def _aureole(pen: Pen) -> None:
    pen.oval(0.0, 0.0, 1.0, 1.0, COLOURS["gold"])
    pen.oval(0.03, 0.025, 0.97, 0.975)
    for step in range(24):
        angle = step * pi / 12
        inner, outer = (
            (0.5 + 0.3 * cos(angle), 0.5 + 0.3 * sin(angle)),
            (0.5 + 0.46 * cos(angle), 0.5 + 0.46 * sin(angle)),
        )
        pen.stroke([inner, outer], 0.008, COLOURS["gold"])
    pen.oval(0.1, 0.09, 0.9, 0.91, pen.light)


def _halo(pen: Pen) -> None:
    pen.oval(0.0, 0.0, 1.0, 1.0, COLOURS["gold"])
    pen.oval(0.04, 0.04, 0.96, 0.96)
    pen.loop(0.1, 0.1, 0.9, 0.9, 0.02, colour=pen.light)


NATURE: dict[str, Callable[[Pen], None]] = {
    draw.__name__.removeprefix("_"): draw
    for draw in (
        _mountain, _rock, _water, _pond, _field, _cloud, _sun, _rainbow, _star, _petals, _bolt, _tree, _deer,
        _birdlet, _fish, _beast, _bird, _flames, _aureole, _halo,
    )
}  # fmt: skip
"""Glyph by the shape name in ``resources/lexicon.txt``."""
