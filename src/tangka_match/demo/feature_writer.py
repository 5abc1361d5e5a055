"""Synthetic region features of scenes, similar to those of a bottom-up-attention detector.

A region is the sum of a few vectors of a fixed bank, passed through a ReLU:

``relu(STRENGTH * (codes of the visible concepts + context + variation) + noise * N(0, 1) - THRESHOLD)``

- *codes*: Sparse non-negative code of each concept. Concepts of the same kind share a part of it, so that two
  implements are more similar than an implement and a cloud. A region shows one or several concepts.
- *context*: Weak codes of two other elements of the scene, like the wide receptive field of a detector.
- *variation*: Directions common to all regions (light, age, style), strong and partly constant over a scene. They carry
  no information; a model can learn to ignore them.
- *noise*: Independent in every dimension; its strength is a setting of ``write_demo_set``.

Half of the unused regions repeat concepts, the others show textures that no caption mentions. The order of the regions
is random. Rows are gathered and added without matrix products, so that the numbers do not depend on the BLAS library or
the number of threads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tangka_match.demo.grammar import Scene, stream
from tangka_match.demo.lexicon import CONCEPTS, KINDS
from tangka_match.demo.placement import place

NUM_REGIONS = 36
FEATURE_DIM = 2048

STRENGTH = 12.0
"""L2 norm of the code of a concept."""
THRESHOLD = 0.2
"""Value subtracted before the ReLU, so that about half of a region is zero."""
CONTEXT = 0.3
"""Weight of each of the two context codes, relative to the concept of the region."""
SCENE_VARIATION, REGION_VARIATION = 0.1, 0.25
"""Standard deviations of the variation weights. With a larger scene variation, models memorise images by it."""

_KIND_SHARE = 0.2
_ACTIVE_SHARE = 0.08
_NUM_TEXTURES = 160
_NUM_VARIATIONS = 96
_NUM_SCENE_VARIATIONS = 4
_NUM_REGION_VARIATIONS = 3

_VIEWS: tuple[dict[str, float], ...] = (  # weights of the slots that regions of the figure and the canvas show
    {"figure": 1.0, "family": 0.5, "body_colour": 0.5, "posture": 0.5},
    {"body_colour": 0.9, "arms": 0.7, "figure": 0.4},
    {"temper": 1.0, "faces": 0.8, "body_colour": 0.3},
    {"posture": 0.9, "garment": 0.5, "seat": 0.4},
    {"technique": 1.0, "school": 0.6},
    {"school": 0.8, "era": 0.8},
    {"mood": 1.0, "era": 0.5},
)
_SINGLE_SLOTS = (
    "gesture", "right_hand", "left_hand", "seat", "crown", "garment", "ornament", "halo", "aureole", "border", "above",
    "attendant", "offering", "landscape", "sky", "plant", "animal", "building",
)  # fmt: skip
_VECTORS_PER_REGION = 4 + 2 + _NUM_SCENE_VARIATIONS + _NUM_REGION_VARIATIONS


@dataclass(frozen=True)
class _Recipe:
    """Content of a region: rows of the bank with their weights, and its box."""

    rows: list[int]
    weights: list[float]
    box: npt.NDArray[np.float32]


class FeatureWriter:
    """Generator of region features and boxes.

    Args:
        seed: Seed of the set, which determines the codes.
        noise: Standard deviation of the noise in each dimension, >= 0.
    """

    def __init__(self, seed: int, noise: float) -> None:
        self.seed = seed
        self.noise = noise
        self._bank = _make_bank(seed)

    def __call__(self, scenes: Sequence[Scene]) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float32]]:
        """Generate the features of scenes.

        Returns:
            Regions (N, 36, 2048) float16, non-negative, and boxes (N, 36, 4) float32 in [0, 1], in random region order.
        """
        features = np.zeros((len(scenes), NUM_REGIONS, FEATURE_DIM), dtype=np.float32)
        boxes = np.empty((len(scenes), NUM_REGIONS, 4), dtype=np.float32)
        for row, scene in enumerate(scenes):
            rng = stream(self.seed, scene.split, scene.index, "features")
            recipes = self._recipes(scene, rng)
            boxes[row] = np.stack([recipe.box for recipe in recipes])
            self._sum_vectors(recipes, rng, features[row])
        return features.astype(np.float16), boxes

    def _recipes(self, scene: Scene, rng: np.random.Generator) -> list[_Recipe]:
        places = place(scene, stream(self.seed, scene.split, scene.index, "layout"))
        recipes = _visible_regions(scene, places)
        free = NUM_REGIONS - len(recipes)
        repeats = rng.integers(len(recipes), size=free // 2)
        recipes += [_Recipe(recipes[r].rows, recipes[r].weights, _shifted(recipes[r].box, rng)) for r in repeats]
        recipes += [_texture(rng) for _ in range(free - len(repeats))]
        return [recipes[r] for r in rng.permutation(NUM_REGIONS)]

    def _sum_vectors(self, recipes: list[_Recipe], rng: np.random.Generator, out: npt.NDArray[np.float32]) -> None:
        first_variation = len(CONCEPTS) + _NUM_TEXTURES
        rows = np.zeros((NUM_REGIONS, _VECTORS_PER_REGION), dtype=np.int64)
        weights = np.zeros((NUM_REGIONS, _VECTORS_PER_REGION), dtype=np.float32)
        for region, recipe in enumerate(recipes):
            rows[region, : len(recipe.rows)] = recipe.rows
            weights[region, : len(recipe.rows)] = recipe.weights
        neighbours = rng.integers(NUM_REGIONS, size=(NUM_REGIONS, 2))
        rows[:, 4:6] = rows[neighbours, 0]
        weights[:, 4:6] = CONTEXT
        shared, own = slice(6, 6 + _NUM_SCENE_VARIATIONS), slice(6 + _NUM_SCENE_VARIATIONS, None)
        rows[:, shared] = first_variation + rng.integers(_NUM_VARIATIONS, size=_NUM_SCENE_VARIATIONS)
        weights[:, shared] = SCENE_VARIATION * rng.standard_normal(_NUM_SCENE_VARIATIONS)
        rows[:, own] = first_variation + rng.integers(_NUM_VARIATIONS, size=(NUM_REGIONS, _NUM_REGION_VARIATIONS))
        weights[:, own] = REGION_VARIATION * rng.standard_normal((NUM_REGIONS, _NUM_REGION_VARIATIONS))
        rng.standard_normal(out=out, dtype=np.float32)
        out *= np.float32(self.noise)
        for slot in range(_VECTORS_PER_REGION):
            out += weights[:, slot, None] * self._bank[rows[:, slot]]
        out -= np.float32(THRESHOLD)
        np.maximum(out, 0.0, out=out)


def _make_bank(seed: int) -> npt.NDArray[np.float32]:
    """Generate the codes of all concepts, then textures, then variations: (rows, 2048), each of norm ``STRENGTH``."""
    rng = np.random.default_rng([seed, *b"codes"])
    kinds = dict(zip(KINDS, _sparse(rng, len(KINDS)), strict=True))
    shared = np.stack([kinds[concept.kind] for concept in CONCEPTS])
    codes = _KIND_SHARE**0.5 * shared + (1 - _KIND_SHARE) ** 0.5 * _sparse(rng, len(CONCEPTS))
    variations = rng.standard_normal((_NUM_VARIATIONS, FEATURE_DIM))
    bank = np.concatenate([codes, _sparse(rng, _NUM_TEXTURES), variations])
    return (STRENGTH * bank / np.linalg.norm(bank, axis=1, keepdims=True)).astype(np.float32)


def _sparse(rng: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
    """Generate sparse non-negative vectors of norm 1."""
    values = rng.gamma(2.0, size=(count, FEATURE_DIM)) * (rng.random((count, FEATURE_DIM)) < _ACTIVE_SHARE)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def _visible_regions(scene: Scene, places: npt.NDArray[np.float32]) -> list[_Recipe]:
    at = {element.slot: position for position, element in reversed(list(enumerate(scene.elements)))}
    recipes = []
    for view in _VIEWS:
        rows = [scene.elements[at[slot]].concept for slot in view]
        recipes.append(_Recipe(rows, list(view.values()), places[at[next(iter(view))]]))
    for position, element in enumerate(scene.elements):
        if element.slot in _SINGLE_SLOTS:
            recipes.append(_Recipe([element.concept], [1.0], places[position]))
    return recipes


def _shifted(box: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    return np.clip(box + rng.uniform(-0.03, 0.03, 4), 0.0, 1.0).astype(np.float32)


def _texture(rng: np.random.Generator) -> _Recipe:
    corner = rng.uniform(0.0, 0.75, 2)
    box = np.concatenate([corner, corner + rng.uniform(0.08, 0.25, 2)]).astype(np.float32)
    return _Recipe([len(CONCEPTS) + int(rng.integers(_NUM_TEXTURES))], [1.0], box)
