"""Thumbnail of a scene, with every element drawn in its box."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from tangka_match.demo.body import Body, draw_body
from tangka_match.demo.glyphs_nature import NATURE
from tangka_match.demo.glyphs_objects import OBJECTS
from tangka_match.demo.grammar import Element, Scene
from tangka_match.demo.lexicon import CONCEPTS, FIGURES
from tangka_match.demo.pen import COLOURS, INK, Colour, Pen, PixelBox, Point, mix

THUMBNAIL_SIZE = (192, 256)
"""Width and height in pixels."""

_OVERSAMPLING = 2
_GLYPHS = {**OBJECTS, **NATURE}
_FIGURES = {figure.key: figure for figure in FIGURES}
_BACKGROUND = ("landscape", "sky", "building", "plant", "animal")
_FOREGROUND = ("attendant", "above", "offering")
_GROUNDS: dict[str, tuple[Colour, Colour]] = {  # technique: colours at the top and at the bottom
    "gold_thang": ((226, 190, 104), (198, 150, 62)),
    "black_thang": ((26, 24, 32), (44, 38, 44)),
    "red_thang": ((168, 44, 36), (128, 30, 30)),
}
_SKIES: tuple[Colour, ...] = ((70, 128, 196), (104, 158, 206), (58, 104, 160), (150, 186, 210))
_MEADOW: Colour = (96, 146, 92)
_BORDER = 0.045
_PERSONS: dict[str, tuple[str, str]] = {
    "monk": ("lotus", "knob"),
    "lady": ("stand", "crown"),
    "demon": ("dance", "flame"),
}


def paint(scene: Scene, places: npt.NDArray[np.float32], rng: np.random.Generator) -> Image.Image:
    """Paint a scene.

    Args:
        scene: Scene to paint.
        places: Boxes of its elements, (elements, 4), from ``placement.place``.
        rng: Random stream of the scene for painting; only used for the colour of the sky.

    Returns:
        RGB picture of ``THUMBNAIL_SIZE``.
    """
    size = (THUMBNAIL_SIZE[0] * _OVERSAMPLING, THUMBNAIL_SIZE[1] * _OVERSAMPLING)
    picture = _ground(size, _key(scene, "technique"), rng)
    painter = _Painter(ImageDraw.Draw(picture), size, scene, places)
    painter.draw_slots(_BACKGROUND)
    painter.draw_slots(("aureole", "halo"))
    painter.draw_slots(("seat",))
    painter.draw_figure()
    painter.draw_slots(("left_hand", "right_hand"))
    painter.draw_slots(_FOREGROUND)
    painter.draw_border()
    return picture.reduce(_OVERSAMPLING)


def _key(scene: Scene, slot: str) -> str:
    return CONCEPTS[scene.concept(slot)].key


def _ground(size: tuple[int, int], technique: str, rng: np.random.Generator) -> Image.Image:
    width, height = size
    sky = _SKIES[int(rng.integers(len(_SKIES)))]
    top, bottom = _GROUNDS.get(technique, (sky, mix(sky, (255, 250, 235), 0.75)))
    low = _GROUNDS[technique] if technique in _GROUNDS else (mix(_MEADOW, (255, 255, 200), 0.25), _MEADOW)
    horizon = 0.5
    shares = np.linspace(0, 1, height)[:, None]
    upper = np.array(top) + (np.array(bottom) - top) * np.clip(shares / horizon, 0, 1)
    lower = np.array(low[0]) + (np.array(low[1]) - low[0]) * np.clip((shares - horizon) / (1 - horizon), 0, 1)
    rows = np.where(shares < horizon, upper, lower).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(rows[:, None], (height, width, 3))))


class _Painter:
    """Painter of the elements of one scene."""

    def __init__(
        self, draw: ImageDraw.ImageDraw, size: tuple[int, int], scene: Scene, places: npt.NDArray[np.float32]
    ) -> None:
        self.draw = draw
        self.size = size
        self.scene = scene
        self.boxes: dict[Element, PixelBox] = {
            element: self._pixels(place.tolist()) for element, place in zip(scene.elements, places, strict=True)
        }
        dark = _key(scene, "technique") == "black_thang"
        self.ink = COLOURS["gold"] if dark else INK

    def _pixels(self, place: Sequence[float]) -> PixelBox:
        left, top, right, bottom = place
        width, height = self.size
        return left * width, top * height, right * width, bottom * height

    def _pen(self, element: Element) -> Pen:
        return Pen(self.draw, self.boxes[element], COLOURS[CONCEPTS[element.concept].colour], self.ink)

    def _element(self, slot: str) -> Element:
        return next(element for element in self.scene.elements if element.slot == slot)

    def draw_slots(self, slots: Sequence[str]) -> None:
        """Draw the elements of these slots, slot by slot."""
        for slot in slots:
            for element in self.scene.elements:
                if element.slot == slot:
                    self._draw_element(element)

    def _draw_element(self, element: Element) -> None:
        concept, pen = CONCEPTS[element.concept], self._pen(element)
        if concept.kind == "figure":
            self._draw_small_figure(pen, concept.key)
        elif concept.shape in _PERSONS:
            posture, head = _PERSONS[concept.shape]
            skin = COLOURS["flesh"] if concept.shape != "demon" else mix(pen.colour, COLOURS["dark"], 0.3)
            fierce = "glaring" if concept.shape == "demon" else "serene"
            draw_body(pen, Body(skin, pen.colour, posture, temper=fierce, crown=(head, mix(pen.colour, INK, 0.4))))
        else:
            _GLYPHS[concept.shape](pen)

    def _draw_small_figure(self, pen: Pen, key: str) -> None:
        figure = _FIGURES[key]
        _GLYPHS["halo"](pen.within(0.05, -0.05, 0.95, 0.95, COLOURS["teal"]))
        _GLYPHS["lotus"](pen.within(0.0, 0.8, 1.0, 1.05, COLOURS["pink"]))
        body = Body(
            COLOURS[figure.colour], COLOURS["red"], figure.posture, figure.faces, figure.arms, figure.temper
        )  # fmt: skip
        draw_body(pen.within(0.1, 0.05, 0.9, 0.9), body)

    def draw_figure(self) -> None:
        """Draw the central figure with its body attributes."""
        scene = self.scene
        pen = self._pen(self._element("figure"))
        crown = CONCEPTS[scene.concept("crown")]
        garment = CONCEPTS[scene.concept("garment")]
        body = Body(
            colour=COLOURS[_key(scene, "body_colour")],
            cloth=COLOURS[garment.colour],
            posture=_key(scene, "posture"),
            faces=_key(scene, "faces"),
            arms=_key(scene, "arms"),
            temper=_key(scene, "temper"),
            crown=(crown.shape, COLOURS[crown.colour]),
            right=self._hand(pen, "right_hand"),
            left=self._hand(pen, "left_hand"),
        )
        draw_body(pen, body)

    def _hand(self, pen: Pen, slot: str) -> Point:
        """Return the position of a hand in the unit square of the figure: at its implement, or in the lap."""
        held = [self.boxes[element] for element in self.scene.elements if element.slot == slot]
        if not held:
            return (0.5, 0.74)
        left, top, right, bottom = held[0]
        x0, y0, x1, y1 = pen.box
        return ((left + right) / 2 - x0) / (x1 - x0), (top + 0.8 * (bottom - top) - y0) / (y1 - y0)

    def draw_border(self) -> None:
        """Draw the brocade border."""
        width, height = self.size
        colour = COLOURS[CONCEPTS[self.scene.concept("border")].colour]
        edge = round(_BORDER * width)
        for inset, thick, tone in ((0, edge, colour), (edge, 4, COLOURS["red"]), (edge + 4, 3, COLOURS["gold"])):
            box = (inset, inset, width - 1 - inset, height - 1 - inset)
            self.draw.rectangle(box, outline=tone, width=thick)
        bright, half = mix(colour, (255, 240, 200), 0.5), edge // 2
        for x in range(edge, width, edge * 2):
            self._knot(x, half, bright)
            self._knot(x, height - 1 - half, bright)
        for y in range(edge * 2, height - edge, edge * 2):
            self._knot(half, y, bright)
            self._knot(width - 1 - half, y, bright)

    def _knot(self, x: float, y: float, colour: Colour) -> None:
        reach = _BORDER * self.size[0] * 0.32
        self.draw.polygon([(x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)], fill=colour)
