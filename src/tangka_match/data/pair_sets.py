"""How many pairs of an epoch come from each of several sets, and where in the epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PairSet:
    """The pairs of one set among those of all.

    Args:
        first: Number of its first pair; the others follow.
        count: Its pairs.
        drawn: Pairs of it in an epoch.
    """

    first: int
    count: int
    drawn: int


def lay_out(num_pairs: int, further_sets: Sequence[tuple[int, float]]) -> tuple[PairSet, ...]:
    """Number the pairs of all sets, and say how many an epoch takes of each.

    Args:
        num_pairs: Pairs of a run's own set: an epoch takes each of them once.
        further_sets: Pairs of each further set, and its share of the epoch; the shares add up to less than 1.

    >>> lay_out(6, [(100, 0.5), (2, 0.25)])  # an epoch of 24: 6 are a quarter
    (PairSet(first=0, count=6, drawn=6), PairSet(first=6, count=100, drawn=12), PairSet(first=106, count=2, drawn=6))
    """
    own_share = 1.0 - sum(share for _, share in further_sets)
    sets = [PairSet(0, num_pairs, num_pairs)]
    for count, share in further_sets:
        drawn = max(1, round(num_pairs * share / own_share))
        sets.append(PairSet(sets[-1].first + sets[-1].count, count, drawn))
    return tuple(sets)


def spread(drawn: Sequence[int]) -> npt.NDArray[np.int64]:
    """The set of each place of an epoch, such that every stretch of it has nearly the same share of each set.

    The j-th of the n pairs of a set stands at the share (j + 1/2) / n of the way. Beside one further set, a stretch of
    B places has B · share of its pairs, at most one more or less; beside k of them at most 1 + (k - 1) · share.

    Args:
        drawn: Pairs of each set in the epoch.

    >>> spread([3, 6]).tolist()
    [1, 0, 1, 1, 0, 1, 1, 0, 1]
    """
    along = np.concatenate([(np.arange(n) + 0.5) / n for n in drawn])
    return np.repeat(np.arange(len(drawn)), drawn)[np.argsort(along, kind="stable")]


def most_together(places: npt.NDArray[np.int64], batch_size: int) -> list[int]:
    """The most pairs of each set that come into one batch.

    Args:
        places: The set of each place of an epoch, as ``spread`` gives them.
        batch_size: Places a batch.

    >>> most_together(np.array([0, 1, 1, 1, 0, 1]), batch_size=3)
    [1, 2]
    """
    batch = np.arange(len(places)) // batch_size
    return [int(np.bincount(batch[places == number]).max()) for number in np.unique(places)]
