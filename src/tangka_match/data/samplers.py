"""Batches of pairs whose order is known in advance, so that a run can go on where it stopped."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from tangka_match.data.difficulty import competence, gather_neighbours
from tangka_match.data.mix import lay_out, most_together, spread
from tangka_match.errors import ConfigError, ShapeError

_WITHIN, _FURTHER, _TURNS = 2, 3, 4
"""Last words of the keys of shuffles beside the one of a run's own pairs: no two of them use the same bits."""


class ResumableBatchSampler(Sampler[list[int]]):
    """Batches of pair indices; the order of an epoch depends on nothing but ``seed`` and the epoch's number.

    The sampler keeps no count of what it has yielded, because workers fetch ahead of the trainer. Whoever resumes a
    run says how many batches the trainer has consumed, with ``start_at``, before the loader is iterated: iterating
    reads the epoch and the position at once.

    With ``initial_competence`` under 1 an epoch draws from the easiest share of the pairs only, which grows with the
    epochs until all pairs take part (``difficulty.competence``, arXiv:1903.09848). The easy pairs are shuffled and
    repeated until the epoch is as long as any other; no pair is twice in one batch.

    With ``hard_batches`` over 0 that share of each global batch are neighbours of its other pairs
    (``gather_neighbours``), from the second epoch on: in the first one a model knows nothing yet. The order then
    depends on the model too: ``find_neighbours``, which must be set, is asked once an epoch, when the loader is
    iterated, and every process has to find the same. Every pair still comes once, and the batches are shuffled, because
    neighbours grow rare towards the end. Whoever resumes a run within an epoch gives back, with ``keep_neighbours``,
    what had been found for it.

    With ``further_sets`` an epoch goes once through the run's own pairs, and is longer by the pairs of the further
    sets, which are spread evenly over its batches (``pair_sets.spread``). Of each further set it takes the next pairs
    after those of the epoch before, in an order that is the same for the whole run: none comes back before all have
    had their turn. Easy pairs are then those of each set.

    Args:
        num_pairs: Pairs in the data set.
        batch_size: Pairs a batch, on each rank.
        seed: ≥ 0.
        further_sets: Pairs of each further set, and its share of an epoch, in (0, 1); their pairs are numbered after
            the ``num_pairs`` of the set itself, set by set.
        difficulty: Of all pairs, larger = harder; needed with ``initial_competence`` < 1 only.
        initial_competence: Share of the pairs that the first epoch draws from, in (0, 1]; 1 is plain shuffling.
        competence_until: Share of all epochs, in (0, 1], after which all pairs take part.
        total_epochs: Epochs of the whole training; may be set later, needed with ``initial_competence`` < 1 only.
        hard_batches: Share of a batch, in [0, 1), that is taken from the neighbours of its other pairs.
        drop_last: Leave out the last batch of an epoch where it is short; otherwise it is shared by all ranks, topped
            up from the epoch's first pairs where it has fewer pairs than there are ranks.
        rank: Number of this process in [0, world_size). Ranks take turns in the pairs of each global batch of
            ``batch_size · world_size`` pairs.
        world_size: Number of processes.

    Raises:
        ConfigError: If a setting is out of range, the pairs do not fill one batch that must be full, or those of a
            further set not its share of a batch.
        ShapeError: If ``difficulty`` has another length than there are pairs.

    >>> sampler = ResumableBatchSampler(num_pairs=6, batch_size=2, seed=0)
    >>> whole = list(sampler)
    >>> sampler.start_at(epoch=0, batch=1)
    >>> list(sampler) == whole[1:], len(sampler)
    (True, 3)
    """

    def __init__(
        self,
        num_pairs: int,
        batch_size: int,
        seed: int = 0,
        *,
        further_sets: Sequence[tuple[int, float]] = (),
        difficulty: npt.NDArray[np.float64] | None = None,
        initial_competence: float = 1.0,
        competence_until: float = 0.5,
        total_epochs: int | None = None,
        hard_batches: float = 0.0,
        drop_last: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_sampling(
            batch_size=batch_size,
            seed=seed,
            initial_competence=initial_competence,
            competence_until=competence_until,
            hard_batches=hard_batches,
            further_sets=len(further_sets),
        )
        if initial_competence < 1 and difficulty is None:
            raise ConfigError(f"initial_competence={initial_competence} needs the difficulty of each pair; got none.")
        self.sets = lay_out(num_pairs, further_sets)
        total = sum(part.count for part in self.sets)
        if difficulty is not None and difficulty.shape != (total,):
            raise ShapeError(
                f"difficulty has shape {difficulty.shape}; one number for each of {total} pairs is needed."
            )
        self.epoch_pairs = sum(part.drawn for part in self.sets)
        self._places = spread([part.drawn for part in self.sets])
        self.batch_size = batch_size
        self.seed = seed
        self.initial_competence = initial_competence
        self.competence_until = competence_until
        self.total_epochs = total_epochs
        self.hard_batches = hard_batches
        self.find_neighbours: Callable[[], npt.NDArray[np.int64]] | None = None
        self.neighbours: tuple[int, npt.NDArray[np.int64]] | None = None  # an epoch, and those found for it
        self.drop_last = drop_last
        self.epoch = 0
        self.repeats_first_epoch = False
        self._first_batch = 0
        # Stable, so that pairs of equal difficulty have one order on every machine.
        self._easiest_first = (
            None
            if difficulty is None
            else [
                part.first + np.argsort(difficulty[part.first : part.first + part.count], kind="stable")
                for part in self.sets
            ]
        )
        self.share_out(rank, world_size)

    def share_out(self, rank: int, world_size: int) -> None:
        """Deal the batches out to this many processes, and take the share of one of them.

        Args:
            rank: Number of this process in [0, world_size).
            world_size: Number of processes.

        Raises:
            ConfigError: If there is no such rank, or the pairs do not fill one batch that must be full.
        """
        if not 0 <= rank < world_size:
            raise ConfigError(f"rank={rank}, world_size={world_size}; allowed: 0 ≤ rank < world_size.")
        if self.drop_last and self.epoch_pairs < self.batch_size * world_size:
            raise ConfigError(
                f"data.batch_size={self.batch_size} on {world_size} process(es) needs {self.batch_size * world_size} "
                f"pairs for one batch; there are {self.epoch_pairs}. Set data.batch_size to at most "
                f"{self.epoch_pairs // world_size}, or data.drop_last=false."
            )
        for number, together in enumerate(most_together(self._places, self.batch_size * world_size)[1:]):
            if together > self.sets[number + 1].count:
                raise ConfigError(
                    f"data.mix[{number}]: the set has {self.sets[number + 1].count} pairs, but {together} would come "
                    f"into a batch of {self.batch_size * world_size}: give it a smaller share, or leave it out."
                )
        self.rank = rank
        self.world_size = world_size

    @property
    def sampler(self) -> "ResumableBatchSampler":
        """Itself: Lightning calls ``set_epoch`` on the ``sampler`` of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch. It is whole, unless it is the one that ``start_at`` named.

        Args:
            epoch: From 0.
        """
        if epoch != self.epoch:
            self.start_at(epoch, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Go to a place in the middle of an epoch; the epochs that follow are whole.

        Args:
            epoch: From 0.
            batch: Batches of this epoch that the trainer has consumed, in [0, len(self)]; all of them means the
                start of the next epoch.

        Raises:
            ConfigError: If there is no such place, for instance because the batch size is another than before.
        """
        if epoch < 0 or not 0 <= batch <= len(self):
            raise ConfigError(
                f"cannot start at epoch {epoch}, batch {batch}: an epoch has {len(self)} batches of {self.batch_size} "
                f"pairs on {self.world_size} process(es). Resume with the data, batch size and devices of the run."
            )
        self.epoch, self._first_batch = (epoch + 1, 0) if batch == len(self) else (epoch, batch)

    def frequencies(self) -> npt.NDArray[np.float64]:
        """How often each pair comes, as a multiple of what it would be if all came equally often; their mean is 1."""
        counts, drawn = (np.array(numbers) for numbers in zip(*((p.count, p.drawn) for p in self.sets), strict=True))
        return np.repeat(drawn / counts, counts) * counts.sum() / drawn.sum()

    def keep_neighbours(self, epoch: int, neighbours: npt.NDArray[np.int64]) -> None:
        """Use these in an epoch, rather than ask for them.

        Args:
            epoch: From 1.
            neighbours: (num_pairs, k), nearest first, -1 for none.
        """
        self.neighbours = (epoch, neighbours)

    def __len__(self) -> int:
        """Batches of a whole epoch, also when starting in the middle of one: Lightning counts the skipped ones."""
        size = self.batch_size * self.world_size
        return self.epoch_pairs // size if self.drop_last else -(-self.epoch_pairs // size)

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        return (self._batch(order, index) for index in range(self._first_batch, len(self)))

    def _batch(self, order: npt.NDArray[np.int64], index: int) -> list[int]:
        size = self.batch_size * self.world_size
        batch = order[index * size : (index + 1) * size]
        if len(batch) < self.world_size:
            batch = np.concatenate([batch, np.resize(order, self.world_size - len(batch))])
        return batch[self.rank :: self.world_size].tolist()

    @property
    def _order_epoch(self) -> int:
        """Epoch whose order is used; always the first one if ``repeats_first_epoch``."""
        return 0 if self.repeats_first_epoch else self.epoch

    def _order(self) -> npt.NDArray[np.int64]:
        """All pairs of this epoch in global order."""
        order = np.resize(self._shuffled(self._ready_pairs(0), self.seed, self._order_epoch), self.sets[0].drawn)
        if len(self.sets) > 1:
            return self._mixed_order(order)
        return order if self.hard_batches == 0 or self._order_epoch == 0 else self._hard_order(order)

    def _mixed_order(self, own: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The run's own pairs, and among them the next ones of each further set."""
        order = np.empty(self.epoch_pairs, dtype=np.int64)
        order[self._places == 0] = own
        for number, part in enumerate(self.sets[1:], 1):
            ready = self._shuffled(self._ready_pairs(number), self.seed, number, _TURNS)
            turns = self._order_epoch * part.drawn + np.arange(min(part.drawn, len(ready)))
            chosen = self._shuffled(ready[turns % len(ready)], self.seed, self._order_epoch, number, _FURTHER)
            order[self._places == number] = np.resize(chosen, part.drawn)
        # Ranks take turns in a batch: as they stand, each of two ranks would have the pairs of one set.
        keys = np.random.PCG64([self.seed, self._order_epoch, _WITHIN]).random_raw(len(order))
        return order[np.lexsort((keys, np.arange(len(order)) // (self.batch_size * self.world_size)))]

    @staticmethod
    def _shuffled(pairs: npt.NDArray[np.int64], *key: int) -> npt.NDArray[np.int64]:
        """Sort by raw bits: NumPy promises the same bits for ever, but not the same `permutation`."""
        return pairs[np.argsort(np.random.PCG64(key).random_raw(len(pairs)), kind="stable")]

    def _hard_order(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The pairs that plain shuffling would train in this epoch, in batches of neighbours."""
        if self.neighbours is None or self.neighbours[0] != self.epoch:
            if self.find_neighbours is None:
                raise ConfigError(
                    f"data.hard_batches={self.hard_batches} takes neighbours by the running model, and nobody asks it: "
                    "add the callback HardBatches, or set data.hard_batches=0."
                )
            self.keep_neighbours(self.epoch, self.find_neighbours())
        assert self.neighbours is not None
        size = self.batch_size * self.world_size
        full = self.epoch_pairs // size
        order = order[: full * size] if self.drop_last else order
        order = gather_neighbours(order, self.neighbours[1], size, self.hard_batches)
        keys = np.random.PCG64([self.seed, self.epoch, 1]).random_raw(full)
        batches = order[: full * size].reshape(full, size)[np.argsort(keys, kind="stable")]
        return np.concatenate([batches.ravel(), order[full * size :]])

    def _ready_pairs(self, number: int) -> npt.NDArray[np.int64]:
        """The easiest pairs of a set that the model is competent for, at least a global batch of them."""
        part = self.sets[number]
        if self.initial_competence == 1 or self._easiest_first is None:
            return np.arange(part.first, part.first + part.count)
        if self.total_epochs is None:
            raise ConfigError(
                f"data.initial_competence={self.initial_competence} grows over the epochs of the training, but their "
                "number is not known. Call set_total_epochs first, or set data.initial_competence=1."
            )
        share = competence(self._order_epoch / (self.competence_until * self.total_epochs), self.initial_competence)
        count = max(round(share * part.count), self.batch_size * self.world_size)
        return self._easiest_first[number][:count]


def check_sampling(
    *,
    batch_size: int,
    seed: int,
    initial_competence: float,
    competence_until: float,
    hard_batches: float,
    further_sets: int,
) -> None:
    """Check what users set about sampling, before any data is opened.

    Args:
        batch_size: Pairs a batch, on each rank.
        seed: Of the run.
        initial_competence: Share of the pairs that the first epoch draws from.
        competence_until: Share of all epochs after which all pairs take part.
        hard_batches: Share of a batch that is taken from the neighbours of its other pairs.
        further_sets: Their number.

    Raises:
        ConfigError: If a setting is out of range.
    """
    rules = {
        f"data.batch_size={batch_size}; allowed: 1 and more pairs": batch_size >= 1,
        f"seed={seed}; allowed: 0 and more": seed >= 0,
        f"data.initial_competence={initial_competence}; allowed: more than 0, up to 1 (plain shuffling)": (
            0 < initial_competence <= 1
        ),
        f"data.competence_until={competence_until}; allowed: more than 0, up to 1 (the whole training)": (
            0 < competence_until <= 1
        ),
        f"data.hard_batches={hard_batches}; allowed: 0 (plain shuffling) and more, under 1": 0 <= hard_batches < 1,
        f"data.hard_batches={hard_batches} and data.initial_competence={initial_competence} both choose the pairs of a "
        "batch; set hard_batches=0 or initial_competence=1": hard_batches == 0 or initial_competence == 1,
        f"data.hard_batches={hard_batches} and the {further_sets} set(s) of data.mix both choose the pairs of a batch; "
        "set hard_batches=0 or data.mix=[]": hard_batches == 0 or further_sets == 0,
    }
    for message, kept in rules.items():
        if not kept:
            raise ConfigError(f"{message}.")
