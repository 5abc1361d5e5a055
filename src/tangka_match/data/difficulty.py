"""Which captions are hard, and how much of the data a model is ready for.

Platanios et al. 2019, "Competence-based Curriculum Learning for Neural Machine Translation", arXiv:1903.09848.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from tangka_match.errors import ConfigError


def word_rarity(captions: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
    r"""Sentence rarity: long captions of rare words are hard (section 2.1, "Word Rarity").

    .. math:: d(s) = -\sum_{w \in s} \log p(w), \quad p(w) = \text{count of } w / \text{count of all words}

    Args:
        captions: N encoded captions; the first and last id of each, ``<start>`` and ``<end>``, are no words.

    Returns:
        (N,) rarities in nats, ≥ 0; the words of these captions are what is counted.

    >>> word_rarity([np.array([1, 5, 2]), np.array([1, 5, 6, 2]), np.array([1, 5, 2])]).round(3).tolist()
    [0.288, 1.674, 0.288]
    """
    words = [np.asarray(caption)[1:-1] for caption in captions]
    if not words:
        return np.zeros(0)
    counts = np.bincount(np.concatenate(words)).astype(np.float64)
    with np.errstate(divide="ignore"):  # ids that no caption has are never looked up
        surprise = np.log(counts.sum()) - np.log(counts)
    return np.array([surprise[caption].sum() for caption in words])


def competence(progress: float | int, initial: float | int, shape: float | int = 2.0) -> float:
    r"""Share of the data, easiest first, that training may draw from (equation 7; equation 6 where ``shape`` is 1).

    .. math:: c(t) = \min\left(1, \left(t\,(1 - c_0^p) + c_0^p\right)^{1/p}\right)

    Args:
        progress: t, share of the curriculum that is over; 1 and more mean all of the data.
        initial: c₀, competence at the start, in (0, 1].
        shape: p, ≥ 1: 2 is the paper's square root, which adds new pairs ever more slowly; 1 is linear.

    Returns:
        Competence in [``initial``, 1].

    Raises:
        ConfigError: If a number is out of range.

    >>> [round(competence(t, 0.1), 2) for t in (0, 0.25, 0.5, 1, 2)]
    [0.1, 0.51, 0.71, 1.0, 1.0]
    """
    if progress < 0 or not 0 < initial <= 1 or shape < 1:
        raise ConfigError(
            f"competence: progress={progress}, initial={initial}, shape={shape}; "
            "allowed: progress ≥ 0, 0 < initial ≤ 1, shape ≥ 1."
        )
    start = initial**shape
    return float(min(1.0, (progress * (1 - start) + start) ** (1 / shape)))
