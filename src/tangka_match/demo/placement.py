"""Boxes of the elements of a scene, used for the region boxes and the thumbnail.

Boxes are (left, top, right, bottom) relative to the picture size, y downwards.
"""

from collections import Counter

import numpy as np
import numpy.typing as npt

from tangka_match.demo.grammar import Scene

Box = tuple[float, float, float, float]

_PLACES: dict[str, tuple[Box, ...]] = {
    "figure": ((0.26, 0.20, 0.74, 0.72),),
    "family": ((0.26, 0.20, 0.74, 0.72),),
    "body_colour": ((0.30, 0.36, 0.70, 0.56),),
    "posture": ((0.27, 0.54, 0.73, 0.72),),
    "faces": ((0.41, 0.25, 0.59, 0.37),),
    "arms": ((0.22, 0.34, 0.78, 0.56),),
    "temper": ((0.43, 0.26, 0.57, 0.36),),
    "gesture": ((0.42, 0.44, 0.58, 0.54),),
    "seat": ((0.23, 0.67, 0.77, 0.82),),
    "right_hand": ((0.18, 0.33, 0.34, 0.51),),
    "left_hand": ((0.66, 0.33, 0.82, 0.51),),
    "crown": ((0.41, 0.18, 0.59, 0.28),),
    "garment": ((0.30, 0.50, 0.70, 0.71),),
    "ornament": ((0.38, 0.36, 0.62, 0.46),),
    "halo": ((0.34, 0.17, 0.66, 0.41),),
    "aureole": ((0.20, 0.16, 0.80, 0.75),),
    "border": ((0.00, 0.00, 1.00, 1.00),),
    "above": ((0.08, 0.08, 0.26, 0.23), (0.74, 0.08, 0.92, 0.23)),
    "attendant": ((0.06, 0.53, 0.25, 0.72), (0.75, 0.53, 0.94, 0.72), (0.07, 0.75, 0.26, 0.94)),
    "offering": ((0.40, 0.81, 0.60, 0.945), (0.25, 0.82, 0.43, 0.94), (0.57, 0.82, 0.75, 0.94)),
    "landscape": ((0.03, 0.20, 0.40, 0.54), (0.60, 0.20, 0.97, 0.54)),
    "sky": ((0.30, 0.07, 0.50, 0.17), (0.52, 0.07, 0.72, 0.17)),
    "plant": ((0.05, 0.30, 0.22, 0.54), (0.78, 0.40, 0.95, 0.60)),
    "animal": ((0.75, 0.77, 0.94, 0.93), (0.20, 0.72, 0.36, 0.85)),
    "building": ((0.77, 0.23, 0.95, 0.42),),
    "technique": ((0.05, 0.05, 0.95, 0.95),),
    "school": ((0.06, 0.40, 0.94, 0.80),),
    "era": ((0.05, 0.05, 0.95, 0.40),),
    "mood": ((0.06, 0.60, 0.94, 0.95),),
}
_JITTER = 0.015


def place(scene: Scene, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Generate the boxes of the elements of a scene.

    Args:
        scene: Scene to lay out.
        rng: Random stream of the scene for its layout.

    Returns:
        Boxes (elements, 4) in [0, 1], in the order of ``scene.elements``.
    """
    used: Counter[str] = Counter()
    boxes = np.empty((len(scene.elements), 4), dtype=np.float32)
    for row, element in enumerate(scene.elements):
        boxes[row] = _PLACES[element.slot][used[element.slot]]
        used[element.slot] += 1
    boxes += rng.uniform(-_JITTER, _JITTER, boxes.shape).astype(np.float32)
    return np.clip(boxes, 0.0, 1.0)
