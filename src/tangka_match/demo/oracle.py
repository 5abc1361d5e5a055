"""The best recall that anything could reach on the demo set: ranking by somebody who knows the scenes.

The oracle knows every scene and how captions are written, but of a caption only the facts that it tells. It ranks by
the log-likelihood ratio of caption ``c`` given scene ``s`` against ``c`` given any scene,

``log p(c | s) − log p(c) ≈ Σ over mentioned facts (−log frequency) + Σ over facts of s left out log(1 − p(mention))``

with facts taken as independent, and a mentioned fact that the scene lacks as next to impossible. The ratio, not the
likelihood, so that captions too can be ranked for a scene: long captions are unlikely but telling.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tangka_match.demo.caption_writer import Caption, mention_probability
from tangka_match.demo.grammar import Scene

_CONTRADICTION = 1e3
"""Cost of a mentioned fact that is not in the scene, more than all other terms can be worth."""


def oracle_recalls(scenes: Sequence[Scene], captions: Sequence[Caption], completeness: float) -> dict[str, float]:
    """Recall at 1 of the oracle on a split where caption n belongs to scene n.

    Args:
        scenes: N scenes.
        captions: Their N captions.
        completeness: Share of mentioned elements with which the captions were written.

    Returns:
        ``i2t_r1``, ``t2i_r1`` and ``mean_r1`` in percent. Where k candidates are equally likely, the query counts 1/k:
        nobody can do better than to guess among them.
    """
    scores = oracle_similarity(scenes, captions, completeness)
    recalls = {"i2t_r1": _recall_at_1(scores), "t2i_r1": _recall_at_1(scores.T)}
    return {**recalls, "mean_r1": round(sum(recalls.values()) / 2, 2)}


def oracle_similarity(
    scenes: Sequence[Scene], captions: Sequence[Caption], completeness: float
) -> npt.NDArray[np.float64]:
    """Scores (I, C) of scenes, the rows, against captions, the columns; higher = likelier."""
    number: dict[str, int] = {}
    for scene in scenes:
        for element in scene.elements:
            number.setdefault(element.fact, len(number))
    painted = np.zeros((len(scenes), len(number)))
    silence = np.zeros_like(painted)  # log-probability that a fact of the scene goes unmentioned
    told = np.zeros((len(captions), len(number)))
    for row, (scene, caption) in enumerate(zip(scenes, captions, strict=True)):
        painted[row, [number[element.fact] for element in scene.elements]] = 1.0
        for element, probability in mention_probability(scene, completeness).items():
            silence[row, number[element.fact]] = np.log1p(-probability)
        told[row, [number[element.fact] for element in caption.mentioned]] = 1.0
    surprise = -np.log(painted.mean(axis=0))
    lacking = told.sum(axis=1) - painted @ told.T
    return (
        (painted * surprise) @ told.T + silence.sum(axis=1, keepdims=True) - silence @ told.T - _CONTRADICTION * lacking
    )


def _recall_at_1(scores: npt.NDArray[np.float64]) -> float:
    """Expected recall when equal scores are ranked in random order."""
    rounded = scores.round(6)  # equal sums may differ in their last bits
    own = rounded.diagonal()[:, None]
    best = (rounded > own).sum(axis=1) == 0
    return round(float(100.0 * (best / (rounded == own).sum(axis=1)).mean()), 2)
