"""Caption difficulty for curriculum learning, and batches of hard negatives."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.ops import l2_normalise

_ROWS_PER_BLOCK = 1024


def word_rarity(captions: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
    r"""Compute the word rarity of captions: long captions of rare words are difficult.

    .. math:: d(s) = -\sum_{w \in s} \log p(w), \quad p(w) = \text{count of } w / \text{count of all words}

    Reference: Platanios et al., "Competence-based Curriculum Learning" (arXiv:1903.09848), section 2.1.

    Args:
        captions: N encoded captions; the first and last id of each, ``<start>`` and ``<end>``, are not counted.

    Returns:
        Rarity of each caption in nats, (N,), >= 0. Word frequencies are those of the given captions.

    >>> word_rarity([np.array([1, 5, 2]), np.array([1, 5, 6, 2]), np.array([1, 5, 2])]).round(3).tolist()
    [0.288, 1.674, 0.288]
    """
    words = [np.asarray(caption)[1:-1] for caption in captions]
    if not words:
        return np.zeros(0)
    counts = np.bincount(np.concatenate(words)).astype(np.float64)
    with np.errstate(divide="ignore"):  # ids that no caption contains are never looked up
        information = np.log(counts.sum()) - np.log(counts)
    return np.array([information[caption].sum() for caption in words])


def competence(progress: float | int, initial: float | int, shape: float | int = 2.0) -> float:
    r"""Compute the share of the data, easiest first, that the curriculum includes.

    .. math:: c(t) = \min\left(1, \left(t\,(1 - c_0^p) + c_0^p\right)^{1/p}\right)

    Reference: arXiv:1903.09848, equation 7 (equation 6 for ``shape`` = 1).

    Args:
        progress: Share of the curriculum that is completed, t >= 0; 1 or more includes all data.
        initial: Competence at the start, c₀ in (0, 1].
        shape: Exponent p >= 1: 2 is the square root of the paper, which adds pairs at a decreasing rate; 1 is linear.

    Returns:
        Competence in [``initial``, 1].

    Raises:
        ConfigError: If an argument is out of range.

    >>> [round(competence(t, 0.1), 2) for t in (0, 0.25, 0.5, 1, 2)]
    [0.1, 0.51, 0.71, 1.0, 1.0]
    """
    if progress < 0 or not 0 < initial <= 1 or shape < 1:
        raise ConfigError(
            f"competence: progress={progress}, initial={initial}, shape={shape}; "
            "must satisfy progress >= 0, 0 < initial <= 1, shape >= 1."
        )
    start = initial**shape
    return float(min(1.0, (progress * (1 - start) + start) ** (1 / shape)))


def nearest_pairs(
    images: Float[Tensor, "N D"],
    texts: Float[Tensor, "C D"],
    caption_to_image: Int[Tensor, " C"],
    text_group: Int[Tensor, " C"],
    count: int,
) -> npt.NDArray[np.int64]:
    """Find the hardest negatives of each pair, nearest first.

    The similarity of pairs p and q is the larger of two cosines: image of p with caption of q, and caption of p with
    image of q. Pairs of the same image or of the same caption text are not negatives and therefore excluded.

    Args:
        images: Image embeddings, of any norm.
        texts: Text embeddings, of any norm.
        caption_to_image: Image index of each caption.
        text_group: Group index of each caption, equal for captions with the same text.
        count: Neighbours per pair, >= 1.

    Returns:
        Indices of the nearest pairs, (C, count); -1 if a pair has fewer neighbours.

    >>> nearest_pairs(torch.eye(3), torch.tensor([[0.9, 0.4, 0], [0, 1, 0], [0.1, 0, 1]]),
    ...               torch.arange(3), torch.arange(3), count=2).tolist()
    [[1, 2], [0, 2], [0, 1]]
    """
    images, texts = l2_normalise(images)[caption_to_image], l2_normalise(texts)
    kept = min(count, len(texts))
    found = np.full((len(texts), count), -1, dtype=np.int64)
    for rows in torch.arange(len(texts), device=texts.device).split(_ROWS_PER_BLOCK):
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
    """Reorder the pairs of an epoch so that a share of every batch consists of neighbours of its other pairs.

    Each batch starts with the next unused pairs of ``order``, its seeds. Each seed in turn adds its nearest unused
    neighbour until the batch is full. If no unused neighbour is left, which happens towards the end of an epoch, the
    next pairs of ``order`` fill the batch.

    Args:
        order: Pairs of the epoch in random order, each once.
        neighbours: Neighbours of all C pairs, (C, k), nearest first, -1 for none.
        batch_size: Pairs per batch.
        share: Share of a batch that consists of neighbours, in [0, 1); a batch has at least one seed.

    Returns:
        The same pairs; each ``batch_size`` consecutive ones form a batch.

    >>> near = np.array([[3, 1], [2, 3], [1, 0], [0, 2]])
    >>> gather_neighbours(np.array([0, 1, 2, 3]), near, batch_size=2, share=0.5).tolist()
    [0, 3, 1, 2]
    """
    unused = np.zeros(len(neighbours), dtype=bool)
    unused[order] = True
    next_pairs = iter(order.tolist())
    gathered: list[int] = []
    for start in range(0, len(order), batch_size):
        size = min(batch_size, len(order) - start)
        seeds = _take(next_pairs, unused, max(size - round(share * size), 1))
        near = _take_neighbours(neighbours[seeds], unused, size - len(seeds))
        gathered += [*seeds, *near, *_take(next_pairs, unused, size - len(seeds) - len(near))]
    return np.array(gathered, dtype=np.int64)


def _take(pairs: Iterator[int], unused: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Take at most ``count`` unused pairs and mark them as used."""
    taken: list[int] = []
    while len(taken) < count and (pair := next(pairs, None)) is not None:
        if pair >= 0 and unused[pair]:
            unused[pair] = False
            taken.append(pair)
    return taken


def _take_neighbours(neighbours: npt.NDArray[np.int64], unused: npt.NDArray[np.bool_], count: int) -> list[int]:
    """Take at most ``count`` unused neighbours, one per seed in turn; ``neighbours`` is (seeds, k)."""
    taken: list[int] = []
    queues = [iter(row) for row in neighbours.tolist()]
    while queues and len(taken) < count:
        remaining = []
        for queue in queues:
            pair = _take(queue, unused, min(1, count - len(taken)))
            taken += pair
            if pair:
                remaining.append(queue)
        queues = remaining
    return taken
