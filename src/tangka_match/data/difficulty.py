"""Caption difficulty, and batches of hard negatives."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.ops import l2_normalise


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


_ROWS_AT_ONCE = 1024


def nearest_pairs(
    images: Float[Tensor, "N D"],
    texts: Float[Tensor, "C D"],
    caption_to_image: Int[Tensor, " C"],
    text_group: Int[Tensor, " C"],
    count: int,
) -> npt.NDArray[np.int64]:
    """Return for each pair the other pairs that are most easily taken for it, nearest first.

    Pair q is as near to pair p as the larger of two cosines says: p's image with q's caption, and p's caption with q's
    image. Pairs of the same image, or of the same caption text, are no negatives of each other and so no neighbours.

    Args:
        images: A vector an image; of any length.
        texts: A vector a caption.
        caption_to_image: Image of each caption.
        text_group: Equal where captions have the same text.
        count: Neighbours a pair, 1 or more.

    Returns:
        (C, count), indices of pairs; -1 where a pair has no more neighbours.

    >>> nearest_pairs(torch.eye(3), torch.tensor([[0.9, 0.4, 0], [0, 1, 0], [0.1, 0, 1]]),
    ...               torch.arange(3), torch.arange(3), count=2).tolist()
    [[1, 2], [0, 2], [0, 1]]
    """
    images, texts = l2_normalise(images)[caption_to_image], l2_normalise(texts)
    kept = min(count, len(texts))
    found = np.full((len(texts), count), -1, dtype=np.int64)
    for rows in torch.arange(len(texts), device=texts.device).split(_ROWS_AT_ONCE):
        scores = torch.maximum(images[rows] @ texts.T, texts[rows] @ images.T)
        same = caption_to_image[rows, None] == caption_to_image
        same |= text_group[rows, None] == text_group
        best = scores.masked_fill_(same, float("-inf")).topk(kept)
        nearest = torch.where(best.values.isinf(), -1, best.indices)
        found[rows.cpu().numpy(), :kept] = nearest.cpu().numpy()
    return found


def gather_neighbours(
    order: npt.NDArray[np.int64], neighbours: npt.NDArray[np.int64], batch_size: int, share: float
) -> npt.NDArray[np.int64]:
    """Reorder the pairs of an epoch so that a share of every batch lies near its other pairs.

    A batch begins with the next pairs of ``order``, its seeds. Then the seeds take turns: each brings the nearest of
    its neighbours that the epoch has not had yet, until the batch is full. Where no neighbour is left, which happens
    towards the end of an epoch, the next pairs of ``order`` fill it.

    Args:
        order: Pairs of the epoch, each once, in random order.
        neighbours: (C, k), neighbours of all C pairs, nearest first, -1 for none.
        batch_size: Pairs a batch.
        share: Of a batch that neighbours fill, in [0, 1); one pair of a batch is a seed in any case.

    Returns:
        The same pairs; each ``batch_size`` of them are a batch.

    >>> near = np.array([[3, 1], [2, 3], [1, 0], [0, 2]])
    >>> gather_neighbours(np.array([0, 1, 2, 3]), near, batch_size=2, share=0.5).tolist()
    [0, 3, 1, 2]
    """
    waits = np.zeros(len(neighbours), dtype=bool)
    waits[order] = True
    next_pairs = iter(order.tolist())
    gathered: list[int] = []
    for start in range(0, len(order), batch_size):
        size = min(batch_size, len(order) - start)
        seeds = _take(next_pairs, waits, max(size - round(share * size), 1))
        near = _take_near(neighbours[seeds], waits, size - len(seeds))
        gathered += [*seeds, *near, *_take(next_pairs, waits, size - len(seeds) - len(near))]
    return np.array(gathered, dtype=np.int64)


def _take(pairs: Iterator[int], waits: npt.NDArray[np.bool_], count: int) -> list[int]:
    """The next pairs that wait, at most ``count``; they wait no longer."""
    taken: list[int] = []
    while len(taken) < count and (pair := next(pairs, None)) is not None:
        if pair >= 0 and waits[pair]:
            waits[pair] = False
            taken.append(pair)
    return taken


def _take_near(neighbours: npt.NDArray[np.int64], waits: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Seeds take turns, (seeds, k), until ``count`` pairs are taken or no seed has a neighbour that waits."""
    taken: list[int] = []
    turns = [iter(row) for row in neighbours.tolist()]
    while turns and len(taken) < count:
        going_on = []
        for turn in turns:
            brought = _take(turn, waits, min(1, count - len(taken)))
            taken += brought
            if brought:
                going_on.append(turn)
        turns = going_on
    return taken
