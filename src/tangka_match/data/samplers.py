"""Batch sampler with a reproducible order, so that training can resume in the middle of an epoch."""

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from tangka_match.data.checks import check_sampling
from tangka_match.data.difficulty import competence, gather_neighbours
from tangka_match.data.mix import interleave_sets, max_pairs_per_batch, plan_epoch
from tangka_match.errors import ConfigError, ShapeError

logger = logging.getLogger(__name__)

_WITHIN_BATCH, _EXTRA_PAIRS, _EXTRA_ORDER = 2, 3, 4
"""Last numbers of the random keys, so that no two shuffles use the same random bits."""


class ResumableBatchSampler(Sampler[list[int]]):
    """Batches of pair indices in an order that depends only on ``seed`` and the epoch number.

    The sampler does not count the batches it yields, because workers prefetch. To resume, call ``start_at`` with the
    number of batches that the trainer has consumed before the loader is iterated.

    **Small sets.** An epoch of fewer pairs than one batch consists of one smaller batch, and a warning is logged.

    **Curriculum** (``initial_competence`` < 1). An epoch draws only from the easiest pairs; their share grows over the
    epochs until all pairs are included (``difficulty.competence``, arXiv:1903.09848). The eligible pairs are shuffled
    and repeated to the usual epoch length; no pair occurs twice in a batch.

    **Hard negatives** (``hard_batches`` > 0). From the second epoch on, this share of each global batch consists of
    nearest neighbours of its other pairs (``gather_neighbours``). ``find_neighbours`` must be set; it is called once
    per epoch when the loader is iterated, and must return the same neighbours on every process. Each pair still occurs
    once per epoch. The batches are shuffled, because those at the end of an epoch contain fewer neighbours. To resume
    within an epoch, pass its neighbours to ``keep_neighbours``.

    **Extra sets** (``extra_sets``). An epoch visits each pair of the main set once, and pairs of the extra sets are
    interleaved evenly (``mix.interleave_sets``). Each epoch continues with the next pairs of an extra set, in an order
    that is fixed for the whole run, so that no pair is repeated before all have been used. The curriculum applies to
    each set separately.

    Args:
        num_pairs: Number of pairs in the main set.
        batch_size: Pairs per batch on each rank.
        seed: Seed of the order, >= 0.
        extra_sets: Number of pairs and share of an epoch, in (0, 1), for each extra set. Their pairs are numbered
            after the ``num_pairs`` of the main set, set by set.
        difficulty: Difficulty of each pair, larger = harder; only needed with ``initial_competence`` < 1.
        initial_competence: Share of the pairs that the first epoch draws from, in (0, 1]; 1 disables the curriculum.
        competence_until: Share of all epochs, in (0, 1], after which all pairs are included.
        total_epochs: Number of training epochs; may be set later, only needed with ``initial_competence`` < 1.
        hard_batches: Share of each batch, in [0, 1), that consists of neighbours of its other pairs.
        drop_last: Whether to drop an incomplete last batch. Otherwise all ranks share it; the first pairs of the
            epoch fill it up until each rank has as many, because encodings of equal shape are gathered.
        rank: Rank of this process in [0, world_size). The pairs of each global batch of ``batch_size * world_size``
            pairs are dealt to the ranks in turn.
        world_size: Number of processes.

    Attributes:
        batch_size: Pairs per batch on each rank, reduced if an epoch does not fill a batch.
        epoch_pairs: Pairs per epoch over all ranks.

    Raises:
        ConfigError: If a setting is out of range, an extra set is too small for its share of a batch, or there are
            fewer pairs than ranks and ``drop_last`` is set.
        ShapeError: If ``difficulty`` does not have one number per pair.

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
        extra_sets: Sequence[tuple[int, float]] = (),
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
            num_extra_sets=len(extra_sets),
        )
        if initial_competence < 1 and difficulty is None:
            raise ConfigError(f"initial_competence={initial_competence} < 1 needs the difficulty of each pair.")
        self.sets = plan_epoch(num_pairs, extra_sets)
        total = sum(part.count for part in self.sets)
        if difficulty is not None and difficulty.shape != (total,):
            raise ShapeError(f"difficulty has shape {difficulty.shape}; expected ({total},), one number per pair.")
        self.epoch_pairs = sum(part.drawn for part in self.sets)
        self._set_of_position = interleave_sets([part.drawn for part in self.sets])
        self._full_batch_size = self.batch_size = batch_size
        self._warned_batch: int | None = None
        self.seed = seed
        self.initial_competence = initial_competence
        self.competence_until = competence_until
        self.total_epochs = total_epochs
        self.hard_batches = hard_batches
        self.find_neighbours: Callable[[], npt.NDArray[np.int64]] | None = None
        self.neighbours: tuple[int, npt.NDArray[np.int64]] | None = None  # epoch, and the neighbours found for it
        self.drop_last = drop_last
        self.epoch = 0
        self.repeats_first_epoch = False
        self._first_batch = 0
        # A stable sort, so that pairs of equal difficulty have the same order on every machine.
        self._easiest_first = (
            None
            if difficulty is None
            else [
                part.first + np.argsort(difficulty[part.first : part.first + part.count], kind="stable")
                for part in self.sets
            ]
        )
        self.shard(rank, world_size)

    def shard(self, rank: int, world_size: int) -> None:
        """Split each global batch over the processes and select the part of one rank.

        Args:
            rank: Rank of this process in [0, world_size).
            world_size: Number of processes.

        Raises:
            ConfigError: If the rank does not exist, an extra set is too small for its share of a batch, or there are
                fewer pairs than ranks and ``drop_last`` is set.
        """
        if not 0 <= rank < world_size:
            raise ConfigError(f"rank={rank} must be in [0, world_size={world_size}).")
        self.rank = rank
        self.world_size = world_size
        self.batch_size = self._full_batch_size
        if self.epoch_pairs < self.batch_size * world_size:
            self._shrink_batch()
        global_batch = self.batch_size * world_size
        for number, most in enumerate(max_pairs_per_batch(self._set_of_position, global_batch)[1:]):
            count = self.sets[number + 1].count
            if most > count:
                raise ConfigError(
                    f"data.mix[{number}] has {count} pairs, but its share of a batch of {global_batch} is {most} pairs."
                    " Reduce its share or data.batch_size, or remove it from data.mix."
                )

    def _shrink_batch(self) -> None:
        """Train on one smaller batch per epoch, and log a warning once."""
        wanted = f"data.batch_size={self._full_batch_size} on {self.world_size} process(es)"
        if self.drop_last:
            self.batch_size = self.epoch_pairs // self.world_size
            if self.batch_size == 0:
                raise ConfigError(
                    f"{wanted}: an epoch has {self.epoch_pairs} pair(s), but each process needs at least one. Train on "
                    f"at most {self.epoch_pairs} device(s), or set data.drop_last=false, which repeats pairs."
                )
        trained = self.batch_size * self.world_size if self.drop_last else self.epoch_pairs
        if self.rank == 0 and trained != self._warned_batch:
            self._warned_batch = trained
            logger.warning(
                "%s needs %d pairs per batch, but an epoch has %d: training on one batch of %d pairs per epoch",
                wanted,
                self._full_batch_size * self.world_size,
                self.epoch_pairs,
                trained,
            )

    @property
    def sampler(self) -> "ResumableBatchSampler":
        """The sampler itself: Lightning calls ``set_epoch`` on the ``sampler`` of a batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Select an epoch. It starts at its first batch, unless ``start_at`` has selected this epoch.

        Args:
            epoch: Epoch number from 0.
        """
        if epoch != self.epoch:
            self.start_at(epoch, 0)

    def start_at(self, epoch: int, batch: int) -> None:
        """Start in the middle of an epoch; the following epochs are complete.

        Args:
            epoch: Epoch number from 0.
            batch: Number of batches of this epoch that the trainer has consumed, in [0, len(self)]; ``len(self)``
                selects the start of the next epoch.

        Raises:
            ConfigError: If this position does not exist, for example because the batch size has changed.
        """
        if epoch < 0 or not 0 <= batch <= len(self):
            raise ConfigError(
                f"cannot start at epoch {epoch}, batch {batch}: an epoch has {len(self)} batches of {self.batch_size} "
                f"pairs on {self.world_size} process(es). Resume with the data, batch size and devices of the run."
            )
        self.epoch, self._first_batch = (epoch + 1, 0) if batch == len(self) else (epoch, batch)

    def sampling_weights(self) -> npt.NDArray[np.float64]:
        """Return how often each pair is drawn relative to uniform sampling, (pairs,); the mean is 1."""
        counts, drawn = (np.array(numbers) for numbers in zip(*((p.count, p.drawn) for p in self.sets), strict=True))
        return np.repeat(drawn / counts, counts) * counts.sum() / drawn.sum()

    def keep_neighbours(self, epoch: int, neighbours: npt.NDArray[np.int64]) -> None:
        """Use these neighbours in an epoch instead of calling ``find_neighbours``.

        Args:
            epoch: Epoch number from 1.
            neighbours: Neighbours of each pair, (num_pairs, k), nearest first, -1 for none.
        """
        self.neighbours = (epoch, neighbours)

    def __len__(self) -> int:
        """Batches per complete epoch, also after ``start_at``: Lightning counts the skipped batches."""
        size = self.batch_size * self.world_size
        return self.epoch_pairs // size if self.drop_last else -(-self.epoch_pairs // size)

    @property
    def pairs_left_out(self) -> int:
        """Pairs of each epoch, over all ranks, in the incomplete last batch that ``drop_last`` drops."""
        return self.epoch_pairs % (self.batch_size * self.world_size) if self.drop_last else 0

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        return (self._batch(order, index) for index in range(self._first_batch, len(self)))

    def _batch(self, order: npt.NDArray[np.int64], index: int) -> list[int]:
        size = self.batch_size * self.world_size
        batch = order[index * size : (index + 1) * size]
        if missing := -len(batch) % self.world_size:
            batch = np.concatenate([batch, np.resize(order, missing)])
        return batch[self.rank :: self.world_size].tolist()

    @property
    def _order_epoch(self) -> int:
        """Epoch whose order is used; always the first one if ``repeats_first_epoch``."""
        return 0 if self.repeats_first_epoch else self.epoch

    def _order(self) -> npt.NDArray[np.int64]:
        """Return all pairs of this epoch in global order."""
        order = np.resize(self._shuffle(self._eligible_pairs(0), self.seed, self._order_epoch), self.sets[0].drawn)
        if len(self.sets) > 1:
            return self._mixed_order(order)
        return order if self.hard_batches == 0 or self._order_epoch == 0 else self._hard_order(order)

    def _mixed_order(self, main_pairs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Interleave the pairs of the main set with the next pairs of each extra set."""
        order = np.empty(self.epoch_pairs, dtype=np.int64)
        order[self._set_of_position == 0] = main_pairs
        for number, part in enumerate(self.sets[1:], 1):
            pairs = self._shuffle(self._eligible_pairs(number), self.seed, number, _EXTRA_ORDER)
            following = self._order_epoch * part.drawn + np.arange(min(part.drawn, len(pairs)))
            chosen = self._shuffle(pairs[following % len(pairs)], self.seed, self._order_epoch, number, _EXTRA_PAIRS)
            order[self._set_of_position == number] = np.resize(chosen, part.drawn)
        # Ranks take the pairs of a batch in turn: unshuffled, two sets would end up on one rank each.
        keys = np.random.PCG64([self.seed, self._order_epoch, _WITHIN_BATCH]).random_raw(len(order))
        return order[np.lexsort((keys, np.arange(len(order)) // (self.batch_size * self.world_size)))]

    @staticmethod
    def _shuffle(pairs: npt.NDArray[np.int64], *key: int) -> npt.NDArray[np.int64]:
        """Shuffle by sorting raw random bits, which NumPy keeps stable across versions, unlike `permutation`."""
        return pairs[np.argsort(np.random.PCG64(key).random_raw(len(pairs)), kind="stable")]

    def _hard_order(self, order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Regroup the shuffled pairs of this epoch into batches of neighbours."""
        if self.neighbours is None or self.neighbours[0] != self.epoch:
            if self.find_neighbours is None:
                raise ConfigError(
                    f"data.hard_batches={self.hard_batches} needs hard negatives mined with the current model, but "
                    "find_neighbours is not set: add the callback HardBatches, or set data.hard_batches=0."
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

    def _eligible_pairs(self, number: int) -> npt.NDArray[np.int64]:
        """Return the pairs of a set that the curriculum allows in this epoch, at least one global batch of them."""
        part = self.sets[number]
        if self.initial_competence == 1 or self._easiest_first is None:
            return np.arange(part.first, part.first + part.count)
        if self.total_epochs is None:
            raise ConfigError(
                f"data.initial_competence={self.initial_competence} < 1 needs the number of training epochs. Call "
                "set_total_epochs first, or set data.initial_competence=1."
            )
        share = competence(self._order_epoch / (self.competence_until * self.total_epochs), self.initial_competence)
        count = max(round(share * part.count), self.batch_size * self.world_size)
        return self._easiest_first[number][:count]


def count_epochs(max_epochs: int | None, max_steps: int, steps_per_epoch: int) -> int | None:
    """Compute the number of epochs that Lightning's trainer will run; ``None`` if nothing limits them.

    Args:
        max_epochs: Limit in epochs; ``None`` or -1 for none.
        max_steps: Limit in optimizer steps; -1 for none.
        steps_per_epoch: Optimizer steps per epoch.

    >>> count_epochs(10, 7, 2), count_epochs(3, -1, 2), count_epochs(-1, -1, 2)
    (4, 3, None)
    """
    by_epochs = max_epochs if max_epochs is not None and max_epochs > 0 else None
    by_steps = -(-max_steps // steps_per_epoch) if max_steps > 0 else None
    return min((epochs for epochs in (by_epochs, by_steps) if epochs is not None), default=None)
