"""Random scenes: which concepts occur together.

A scene is a list of elements, each a concept in a slot. It is generated from its own random stream, seeded by the seed,
the split and the index of the scene, so that the number of scenes does not change the earlier ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from tangka_match.demo.lexicon import CONCEPTS, FIGURES, KINDS, NUMBER, Figure

SPLITS = ("train", "val", "test")

TYPICAL_SHARE = 0.72
"""Probability that an attribute is the typical one of the figure, instead of a random one of its kind."""

_SKEW = 0.6
_SURROUNDINGS = {  # slot: (kind, minimum number, maximum number)
    "above": ("figure", 0, 2),
    "attendant": ("attendant", 0, 3),
    "offering": ("offering", 1, 3),
    "landscape": ("landscape", 1, 2),
    "sky": ("sky", 1, 2),
    "plant": ("plant", 0, 2),
    "animal": ("animal", 0, 2),
    "building": ("building", 0, 1),
}
_ALWAYS = ("halo", "aureole", "border", "technique", "school", "era", "mood")
_DRESS = {  # family: typical (crowns, garments, ornaments)
    "buddha": (("ushnisha",), ("monk_robe", "patched_robe"), ("jewel_chain",)),
    "bodhisattva": (("five_leaf", "tiara"), ("silk_robe", "shawl"), ("necklace", "bracelets")),
    "tara": (("tiara", "five_leaf"), ("silk_robe", "long_skirt"), ("earrings", "flower_chain")),
    "yidam": (("skull_crown",), ("elephant_skin", "tiger_skirt"), ("skull_garland", "bone_ornament")),
    "protector": (("flame_hair", "skull_crown"), ("tiger_skirt", "human_skin"), ("skull_garland", "snake_garland")),
    "dakini": (("skull_crown", "flame_hair"), ("tiger_skirt", "shawl"), ("bone_ornament", "skull_garland")),
    "master": (("pandita", "yellow_hat", "lotus_hat"), ("monk_robe", "cotton_robe"), ("earrings",)),
    "wealth": (("tiara", "five_leaf"), ("silk_robe", "shawl"), ("jewel_chain", "necklace")),
    "king": (("helmet",), ("armour", "brocade_coat"), ("breast_mirror",)),
}


@dataclass(frozen=True)
class Element:
    """Concept in a slot of a scene.

    Args:
        slot: Slot such as ``figure``, ``right_hand`` or ``offering``.
        concept: Index of the concept in ``lexicon.CONCEPTS``.
    """

    slot: str
    concept: int

    @property
    def role(self) -> str:
        """Role in a caption: the slot, except that both hands are one role."""
        return "hand" if self.slot.endswith("hand") else self.slot

    @property
    def fact(self) -> str:
        """Fact ``role=kind:key``, as in ``scenes.jsonl`` and in the oracle."""
        return f"{self.role}={CONCEPTS[self.concept].name}"


@dataclass(frozen=True)
class Scene:
    """Content of one painting.

    Args:
        split: ``train``, ``val`` or ``test``.
        index: Index in the split.
        elements: Elements of the scene; no fact occurs twice.
        group: Index of the scene that this one is a near copy of, otherwise its own index.
    """

    split: str
    index: int
    elements: tuple[Element, ...]
    group: int

    @property
    def identifier(self) -> str:
        """Image id in ``_ids.txt``.

        >>> Scene("val", 7, (), 7).identifier
        'demo-val-00007'
        """
        return f"demo-{self.split}-{self.index:05d}"

    def concept(self, slot: str) -> int:
        """Return the first concept in a slot."""
        return next(element.concept for element in self.elements if element.slot == slot)


def stream(seed: int, split: str, index: int, purpose: str) -> np.random.Generator:
    """Create the random stream of one scene for one purpose, independent of all others."""
    return np.random.default_rng([seed, SPLITS.index(split), index, *purpose.encode()])


def make_scenes(seed: int, split: str, count: int, duplicate_share: float) -> list[Scene]:
    """Generate the first ``count`` scenes of a split.

    Args:
        seed: Seed of the set.
        split: ``train``, ``val`` or ``test``.
        count: Number of scenes.
        duplicate_share: Probability that a scene is a near copy of an earlier one of its split, with at most one
            concept changed. Copies do not cross splits, so that memorising the training images does not help.

    Returns:
        Scenes in order.
    """
    scenes: list[Scene] = []
    for index in range(count):
        copying = stream(seed, split, index, "copy")
        if scenes and copying.random() < duplicate_share:
            origin = scenes[scenes[int(copying.integers(index))].group]
            scenes.append(_near_copy(copying, origin, index))
        else:
            scenes.append(Scene(split, index, _elements(stream(seed, split, index, "scene")), index))
    return scenes


def _near_copy(rng: np.random.Generator, origin: Scene, index: int) -> Scene:
    elements = list(origin.elements)
    if rng.random() < 0.5:
        position = int(rng.integers(2, len(elements)))  # figure and family are never changed
        old = elements[position]
        taken = {element.fact for element in elements}
        others = [Element(old.slot, NUMBER[other.name]) for other in KINDS[CONCEPTS[old.concept].kind]]
        others = [other for other in others if other.fact not in taken]
        elements[position] = others[int(rng.integers(len(others)))]
    return replace(origin, index=index, elements=tuple(elements))


def _elements(rng: np.random.Generator) -> tuple[Element, ...]:
    figure = FIGURES[_rank(rng, len(FIGURES))]
    pairs = [("figure", f"figure:{figure.key}"), ("family", f"family:{figure.family}")]
    pairs += [*_body(rng, figure), *_dress(rng, figure)]
    pairs += [(kind, _any(rng, kind)) for kind in _ALWAYS]
    for slot, (kind, least, most) in _SURROUNDINGS.items():
        drawn = {_any(rng, kind) for _ in range(int(rng.integers(least, most + 1)))}
        pairs += [(slot, name) for name in sorted(drawn) if name != f"figure:{figure.key}"]
    return tuple(Element(slot, NUMBER[name]) for slot, name in pairs)


def _body(rng: np.random.Generator, figure: Figure) -> list[tuple[str, str]]:
    typical = {"body_colour": figure.colour, "posture": figure.posture, "faces": figure.faces, "arms": figure.arms}
    typical |= {"temper": figure.temper, "gesture": figure.gesture, "seat": figure.seat}
    pairs = [(kind, _usually(rng, kind, (key,))) for kind, key in typical.items()]
    right = _usually(rng, "hand", figure.hands[:1])
    left = _usually(rng, "hand", figure.hands[1:])
    return [*pairs, ("right_hand", right), *([("left_hand", left)] if left != right else [])]


def _dress(rng: np.random.Generator, figure: Figure) -> list[tuple[str, str]]:
    kinds = ("crown", "garment", "ornament")
    return [(kind, _usually(rng, kind, keys)) for kind, keys in zip(kinds, _DRESS[figure.family], strict=True)]


def _usually(rng: np.random.Generator, kind: str, typical: Sequence[str]) -> str:
    if typical and rng.random() < TYPICAL_SHARE:
        return f"{kind}:{typical[int(rng.integers(len(typical)))]}"
    return _any(rng, kind)


def _any(rng: np.random.Generator, kind: str) -> str:
    return KINDS[kind][_rank(rng, len(KINDS[kind]))].name


def _rank(rng: np.random.Generator, count: int) -> int:
    return int(np.searchsorted(_cumulative(count), rng.random(), side="right"))


@cache
def _cumulative(count: int) -> np.ndarray:
    """Cumulative Zipf-like distribution, proportional to (rank + 3) ** -0.6: rare concepts are still learnable."""
    weights = (np.arange(count) + 3.0) ** -_SKEW
    cumulative = np.cumsum(weights / weights.sum())
    cumulative[-1] = 1.0
    return cumulative
