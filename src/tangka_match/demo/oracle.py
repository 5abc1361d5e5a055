"""Upper bound of recall on the synthetic set: an oracle that knows the scenes.

The oracle knows every scene, how captions are generated, and which facts a caption mentions. It ranks by the
log-likelihood ratio of caption ``c`` given scene ``s`` to ``c`` given any scene,

``log p(c | s) - log p(c) ≈ Σ over mentioned facts (-log frequency) + Σ over omitted facts of s log(1 - p(mention))``

where facts are assumed independent, and a mentioned fact that is not in the scene is nearly impossible. The ratio
allows captions to be ranked for a scene as well: long captions are improbable but informative.

A separate file, because it evaluates scenes and captions and is not needed to write the set.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tangka_match.demo.caption_writer import Caption, mention_probability
from tangka_match.demo.grammar import Scene

_CONTRADICTION = 1e3
"""Penalty for a mentioned fact that is not in the scene, larger than the sum of all other terms."""


def oracle_recalls(scenes: Sequence[Scene], captions: Sequence[Caption], completeness: float) -> dict[str, float]:
    """Compute recall@1 of the oracle on a split where caption n belongs to scene n.

    Args:
        scenes: N scenes.
        captions: Captions of the scenes.
        completeness: Completeness with which the captions were written, in (0, 1].

    Returns:
        ``i2t_r1``, ``t2i_r1`` and ``mean_r1`` in percent. If k candidates are equally likely, a query counts 1/k, the
        expected result of guessing among them.
    """
    scores = oracle_similarity(scenes, captions, completeness)
    recalls = {"i2t_r1": _recall_at_1(scores), "t2i_r1": _recall_at_1(scores.T)}
    return {**recalls, "mean_r1": round(sum(recalls.values()) / 2, 2)}


def oracle_similarity(
    scenes: Sequence[Scene], captions: Sequence[Caption], completeness: float
) -> npt.NDArray[np.float64]:
    """Compute the similarity (I, C): rows scenes, columns captions, higher = more likely."""
    number: dict[str, int] = {}
    for scene in scenes:
        for element in scene.elements:
            number.setdefault(element.fact, len(number))
    in_scene = np.zeros((len(scenes), len(number)))
    log_omitted = np.zeros_like(in_scene)  # log-probability that a fact of the scene is not mentioned
    mentioned = np.zeros((len(captions), len(number)))
    for row, (scene, caption) in enumerate(zip(scenes, captions, strict=True)):
        in_scene[row, [number[element.fact] for element in scene.elements]] = 1.0
        for element, probability in mention_probability(scene, completeness).items():
            log_omitted[row, number[element.fact]] = np.log1p(-probability)
        mentioned[row, [number[element.fact] for element in caption.mentioned]] = 1.0
    information = -np.log(in_scene.mean(axis=0))
    contradictions = mentioned.sum(axis=1) - in_scene @ mentioned.T
    return (
        (in_scene * information) @ mentioned.T
        + log_omitted.sum(axis=1, keepdims=True)
        - log_omitted @ mentioned.T
        - _CONTRADICTION * contradictions
    )


def _recall_at_1(scores: npt.NDArray[np.float64]) -> float:
    """Compute the expected recall@1 with ties ranked in random order."""
    rounded = scores.round(6)  # equal sums may differ in their last bits
    own = rounded.diagonal()[:, None]
    best = (rounded > own).sum(axis=1) == 0
    return round(float(100.0 * (best / (rounded == own).sum(axis=1)).mean()), 2)
