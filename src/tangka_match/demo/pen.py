"""Drawing in the unit square of a box, and the colours of the thumbnails."""

from collections.abc import Sequence

from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
PixelBox = tuple[float, float, float, float]

COLOURS: dict[str, Colour] = {
    "gold": (222, 178, 74), "green": (62, 142, 84), "white": (244, 240, 228), "red": (190, 48, 40),
    "blue": (56, 104, 176), "dark": (38, 46, 84), "yellow": (240, 202, 84), "orange": (226, 128, 52),
    "flesh": (232, 190, 150), "pink": (232, 148, 166), "teal": (52, 138, 142), "brown": (126, 82, 52),
    "grey": (136, 138, 144), "tan": (198, 164, 118), "silver": (204, 212, 220), "bone": (234, 222, 188),
    "-": (150, 120, 90),
}  # fmt: skip
"""Colours by their names in ``lexicon.py``."""

INK: Colour = (52, 34, 26)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Interpolate between two colours: ``share`` 0 is the first, 1 the second.

    >>> mix((0, 0, 0), (100, 200, 50), 0.5)
    (50, 100, 25)
    """
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


class Pen:
    """Drawing functions with coordinates in the unit square of a box, y downwards.

    Args:
        draw: Drawing surface of the picture.
        box: Unit square as left, top, right, bottom, in pixels.
        colour: Main colour.
        ink: Colour of outlines.
    """

    def __init__(self, draw: ImageDraw.ImageDraw, box: PixelBox, colour: Colour, ink: Colour = INK) -> None:
        self.draw = draw
        self.box = box
        self.colour = colour
        self.ink = ink
        self.light = mix(colour, (255, 255, 255), 0.4)
        self.shade = mix(colour, (0, 0, 0), 0.35)

    def at(self, x: float, y: float) -> Point:
        """Convert a point of the unit square to pixels."""
        left, top, right, bottom = self.box
        return left + x * (right - left), top + y * (bottom - top)

    def within(self, x0: float, y0: float, x1: float, y1: float, colour: Colour | None = None) -> "Pen":
        """Create a pen for a part of the unit square."""
        return Pen(self.draw, (*self.at(x0, y0), *self.at(x1, y1)), colour or self.colour, self.ink)

    def _width(self, share: float) -> int:
        left, top, right, bottom = self.box
        return max(1, round(share * min(right - left, bottom - top)))

    def area(self, points: Sequence[Point], colour: Colour | None = None, *, outline: bool = True) -> None:
        """Draw a filled polygon."""
        pixels = [self.at(*point) for point in points]
        self.draw.polygon(pixels, fill=colour or self.colour, outline=self.ink if outline else None)

    def oval(
        self, x0: float, y0: float, x1: float, y1: float, colour: Colour | None = None, *, outline: bool = True
    ) -> None:
        """Draw a filled ellipse between two corners."""
        box = (*self.at(x0, y0), *self.at(x1, y1))
        self.draw.ellipse(box, fill=colour or self.colour, outline=self.ink if outline else None)

    def block(self, x0: float, y0: float, x1: float, y1: float, colour: Colour | None = None) -> None:
        """Draw a filled rectangle between two corners."""
        self.draw.rectangle((*self.at(x0, y0), *self.at(x1, y1)), fill=colour or self.colour, outline=self.ink)

    def stroke(self, points: Sequence[Point], width: float, colour: Colour | None = None) -> None:
        """Draw a line through points, with round ends; ``width`` is relative to the shorter side of the box."""
        pixels, thick = [self.at(*point) for point in points], self._width(width)
        fill = colour or self.colour
        self.draw.line(pixels, fill=fill, width=thick, joint="curve")
        if thick > 3:
            for x, y in (pixels[0], pixels[-1]):
                self.draw.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=fill)

    def limb(self, points: Sequence[Point], width: float, colour: Colour | None = None) -> None:
        """Draw a line with an outline, for arms, legs and staffs."""
        left, top, right, bottom = self.box
        margin = 2.5 / min(right - left, bottom - top)
        self.stroke(points, width + margin, self.ink)
        self.stroke(points, width, colour)

    def loop(self, x0: float, y0: float, x1: float, y1: float, width: float, *, colour: Colour | None = None) -> None:
        """Draw the outline of an ellipse."""
        box = (*self.at(x0, y0), *self.at(x1, y1))
        self.draw.ellipse(box, outline=colour or self.colour, width=self._width(width))

    def bend(self, x0: float, y0: float, x1: float, y1: float, *, start: float, end: float, width: float) -> None:
        """Draw an arc of an ellipse between two angles, in degrees clockwise from three o'clock."""
        box = (*self.at(x0, y0), *self.at(x1, y1))
        self.draw.arc(box, start, end, fill=self.colour, width=self._width(width))
