from itertools import chain

import numpy as np
import pytest
from torch.utils.data import DataLoader

from tangka_match.data.samplers import ResumableBatchSampler
from tangka_match.errors import ConfigError, ShapeError


def flat(batches):
    return list(chain.from_iterable(batches))


def epochs_of(sampler, count):
    batches = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        batches.append(list(sampler))
    return batches


def test_epoch_is_a_permutation_in_full_batches():
    (batches,) = epochs_of(ResumableBatchSampler(12, 3, seed=1), 1)
    assert [len(batch) for batch in batches] == [3, 3, 3, 3]
    assert sorted(flat(batches)) == list(range(12))
    assert flat(batches) != list(range(12))


def test_order_is_the_same_on_every_machine():
    """With any version of NumPy, so that runs remain reproducible."""
    assert list(ResumableBatchSampler(8, 4, seed=3)) == [[0, 4, 7, 1], [5, 6, 3, 2]]


def test_order_depends_on_seed_and_epoch_only():
    first, second = epochs_of(ResumableBatchSampler(40, 4, seed=1), 2)
    late = ResumableBatchSampler(40, 4, seed=1)
    late.set_epoch(1)
    assert list(late) == list(late) == second != first
    assert list(ResumableBatchSampler(40, 4, seed=2)) != first


def test_drop_last():
    assert [len(b) for b in ResumableBatchSampler(10, 4)] == [4, 4]
    kept = ResumableBatchSampler(10, 4, drop_last=False)
    assert [len(b) for b in kept] == [4, 4, 2]
    assert len(kept) == 3


def test_start_at_yields_the_rest_of_the_epoch_and_then_complete_epochs():
    whole = epochs_of(ResumableBatchSampler(20, 2, seed=5), 4)
    sampler = ResumableBatchSampler(20, 2, seed=5)
    sampler.start_at(epoch=1, batch=7)
    assert len(sampler) == 10
    assert list(sampler) == whole[1][7:]
    sampler.set_epoch(1)  # Lightning sets the epoch again before it starts
    assert list(sampler) == whole[1][7:]
    sampler.set_epoch(2)
    assert list(sampler) == whole[2]
    sampler.set_epoch(1)
    assert list(sampler) == whole[1]


def test_start_after_the_last_batch_is_the_next_epoch():
    sampler = ResumableBatchSampler(20, 2, seed=5)
    sampler.start_at(epoch=1, batch=10)
    assert sampler.epoch == 2
    assert len(list(sampler)) == 10


def test_iterating_does_not_move_the_position():
    """Running and abandoned iterators do not influence new ones."""
    sampler = ResumableBatchSampler(20, 2, seed=5)
    running = iter(sampler)
    first = [next(running) for _ in range(4)]
    sampler.start_at(3, 2)
    whole = list(ResumableBatchSampler(20, 2, seed=5))
    assert first + list(running) == whole


@pytest.mark.parametrize("num_workers", [0, 2])
def test_persistent_workers_use_the_current_epoch(num_workers):
    sampler = ResumableBatchSampler(12, 3, seed=5)
    loader = DataLoader(
        list(range(12)),
        batch_sampler=sampler,
        collate_fn=list,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
    )
    expected = epochs_of(ResumableBatchSampler(12, 3, seed=5), 3)
    sampler.start_at(0, 2)
    assert [list(batch) for batch in loader] == expected[0][2:]
    for epoch in (1, 2):
        sampler.set_epoch(epoch)
        assert list(loader) == expected[epoch]


def test_ranks_split_each_global_batch():
    alone = list(ResumableBatchSampler(26, 6, seed=2))
    ranks = [list(ResumableBatchSampler(26, 2, seed=2, rank=rank, world_size=3)) for rank in range(3)]
    assert [len(batches) for batches in ranks] == [4, 4, 4]
    for batch, *shares in zip(alone, *ranks, strict=True):
        assert [share == batch[rank::3] for rank, share in enumerate(shares)] == [True] * 3


def test_an_odd_last_batch_is_filled_up_so_that_all_ranks_have_as_many_pairs():
    ranks = [list(ResumableBatchSampler(71, 8, drop_last=False, rank=rank, world_size=2)) for rank in range(2)]
    assert [[len(batch) for batch in rank] for rank in ranks] == [[8, 8, 8, 8, 4]] * 2
    seen = [pair for rank in ranks for batch in rank for pair in batch]
    assert len(seen) == 72
    assert set(seen) == set(range(71))


@pytest.mark.parametrize("num_pairs", [13, 14, 15, 16])
def test_every_rank_has_a_last_batch(num_pairs):
    ranks = [list(ResumableBatchSampler(num_pairs, 2, drop_last=False, rank=rank, world_size=3)) for rank in range(3)]
    assert {len(batches) for batches in ranks} == {3}
    assert all(batch for batches in ranks for batch in batches)
    assert {pair for batches in ranks for batch in batches for pair in batch} == set(range(num_pairs))


def test_shard_equals_construction_with_rank():
    sampler = ResumableBatchSampler(24, 2, seed=2)
    sampler.shard(1, 3)
    assert list(sampler) == list(ResumableBatchSampler(24, 2, seed=2, rank=1, world_size=3))
    assert len(sampler) == 4


def test_curriculum_starts_with_the_easiest_and_ends_with_all_pairs():
    difficulty = np.arange(100)[::-1].astype(float)  # the last pair is the easiest
    sampler = ResumableBatchSampler(
        100, 5, difficulty=difficulty, initial_competence=0.2, competence_until=0.5, total_epochs=8
    )
    seen = [sorted(set(flat(batches))) for batches in epochs_of(sampler, 6)]
    assert seen[0] == list(range(80, 100))
    assert [len(s) for s in seen] == [20, 53, 72, 87, 100, 100]  # sqrt(t(1 - 0.04)/4 + 0.04)
    assert all(s[0] == 100 - len(s) for s in seen)


def test_curriculum_epochs_have_full_length_and_no_repeats_in_a_batch():
    sampler = ResumableBatchSampler(
        50, 4, difficulty=np.arange(50.0), initial_competence=0.14, total_epochs=1000, rank=1, world_size=2
    )
    assert len(list(sampler)) == len(sampler) == 6
    whole = ResumableBatchSampler(50, 8, difficulty=np.arange(50.0), initial_competence=0.14, total_epochs=1000)
    assert all(len(set(batch)) == 8 for batch in whole)
    assert set(flat(whole)) == set(range(8))  # not 7: at least one batch


def test_curriculum_can_be_resumed():
    settings = {"difficulty": np.arange(30.0), "initial_competence": 0.3, "total_epochs": 6}
    whole = epochs_of(ResumableBatchSampler(30, 3, **settings), 3)
    sampler = ResumableBatchSampler(30, 3, **settings)
    sampler.start_at(2, 4)
    assert list(sampler) == whole[2][4:]


def test_pairs_of_equal_difficulty_keep_their_order():
    sampler = ResumableBatchSampler(30, 3, difficulty=np.zeros(30), initial_competence=0.2, total_epochs=6)
    assert set(flat(sampler)) == set(range(6))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size=0 must be >= 1"),
        ({"world_size": 11}, r"batch_size=2 on 11 process\(es\): an epoch has 10 pair.*at most 10 device"),
        ({"seed": -1}, r"seed=-1 must be >= 0"),
        ({"rank": 2, "world_size": 2}, r"rank=2 must be in \[0, world_size=2\)"),
        ({"initial_competence": 0.0}, r"data\.initial_competence=0\.0 must be in \(0, 1\]"),
        ({"initial_competence": 1.5}, r"data\.initial_competence=1\.5 must be in \(0, 1\]"),
        ({"competence_until": 0.0}, r"data\.competence_until=0\.0 must be in \(0, 1\]"),
        ({"initial_competence": 0.5}, r"initial_competence=0\.5 < 1 needs the difficulty"),
    ],
)
def test_invalid_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        ResumableBatchSampler(**({"num_pairs": 10, "batch_size": 2} | settings))


def test_difficulty_of_wrong_length():
    with pytest.raises(ShapeError, match=r"difficulty has shape \(9,\); expected \(10,\)"):
        ResumableBatchSampler(10, 2, difficulty=np.zeros(9))


def test_curriculum_without_number_of_epochs():
    sampler = ResumableBatchSampler(10, 2, difficulty=np.zeros(10), initial_competence=0.5)
    with pytest.raises(ConfigError, match=r"initial_competence=0\.5 < 1 needs the number of .*set_total_epochs"):
        list(sampler)


class TestSetSmallerThanABatch:
    @pytest.mark.parametrize(
        ("batch_size", "world_size", "trained"), [(11, 1, 10), (128, 1, 10), (4, 3, 9), (6, 2, 10), (64, 10, 10)]
    )
    def test_trains_one_smaller_batch_and_warns(self, batch_size, world_size, trained, caplog):
        ranks = [ResumableBatchSampler(10, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
        assert {len(sampler) for sampler in ranks} == {1}
        assert [len(batch) for sampler in ranks for batch in sampler] == [trained // world_size] * world_size
        assert len(set(flat(batch for sampler in ranks for batch in sampler))) == trained
        (warning,) = caplog.messages
        assert f"batch_size={batch_size} on {world_size} process(es) needs {batch_size * world_size} pairs" in warning
        assert f"an epoch has 10: training on one batch of {trained} pairs" in warning

    def test_sharding_again_restores_the_batch_size(self, caplog):
        sampler = ResumableBatchSampler(10, 4)
        sampler.shard(0, 4)
        assert (sampler.batch_size, len(sampler)) == (2, 1)
        sampler.shard(0, 4)
        assert len(caplog.messages) == 1
        sampler.shard(0, 2)
        assert list(sampler) == list(ResumableBatchSampler(10, 4, world_size=2))
        assert len(caplog.messages) == 1

    def test_incomplete_batch_without_drop_last(self, caplog):
        assert [sorted(b) for b in ResumableBatchSampler(3, 8, drop_last=False)] == [[0, 1, 2]]
        assert "training on one batch of 3 pairs" in caplog.text


@pytest.mark.parametrize(("epoch", "batch"), [(-1, 0), (0, 6), (0, -1)])
def test_start_outside_the_epoch(epoch, batch):
    with pytest.raises(ConfigError, match=f"epoch {epoch}, batch {batch}: an epoch has 5 batches of 2 pairs on 1 proc"):
        ResumableBatchSampler(10, 2).start_at(epoch, batch)


class TestExtraSets:
    def test_share_of_one_half(self):
        """Eight main pairs in batches of four: an epoch draws eight of the twenty extra pairs, two per batch."""
        sampler = ResumableBatchSampler(8, 4, seed=1, extra_sets=[(20, 0.5)])
        first, second, third = epochs_of(sampler, 3)
        for batches in (first, second, third):
            assert [sum(pair < 8 for pair in batch) for batch in batches] == [2, 2, 2, 2]
            assert sorted(pair for pair in flat(batches) if pair < 8) == list(range(8))
        extra = [[pair for pair in flat(batches) if pair >= 8] for batches in (first, second, third)]
        assert [len(set(pairs)) for pairs in extra] == [8, 8, 8]
        assert set(extra[0] + extra[1] + extra[2]) == set(range(8, 28))  # no repeats before all were drawn
        assert not set(extra[0]) & set(extra[1])

    def test_small_extra_set_is_repeated_within_an_epoch(self):
        (batches,) = epochs_of(ResumableBatchSampler(12, 4, extra_sets=[(4, 0.5)]), 1)
        assert np.bincount(flat(batches)).tolist() == [1] * 12 + [3] * 4
        assert all(len(set(batch)) == 4 for batch in batches)

    def test_two_extra_sets(self):
        (batches,) = epochs_of(ResumableBatchSampler(10, 20, extra_sets=[(100, 0.25), (100, 0.25)]), 1)
        (batch,) = batches
        assert np.histogram(batch, [0, 10, 110, 210])[0].tolist() == [10, 5, 5]

    def test_order_is_the_same_on_every_machine(self):
        sampler = ResumableBatchSampler(4, 4, seed=3, extra_sets=[(9, 0.5)])
        assert epochs_of(sampler, 2) == [[[1, 12, 0, 6], [9, 7, 2, 3]], [[2, 10, 0, 11], [4, 1, 8, 3]]]

    def test_ranks_have_pairs_of_all_sets(self):
        """Without shuffling within the batch, each of two ranks would have one set."""
        for rank in (0, 1):
            sampler = ResumableBatchSampler(64, 32, extra_sets=[(64, 0.5)], rank=rank, world_size=2)
            assert all(8 <= sum(pair < 64 for pair in batch) <= 24 for batch in sampler)

    def test_curriculum_applies_to_each_set(self):
        difficulty = np.concatenate([np.arange(20), np.arange(40)]).astype(float)
        sampler = ResumableBatchSampler(
            20, 4, extra_sets=[(40, 0.5)], difficulty=difficulty, initial_competence=0.25, total_epochs=4
        )
        first, *_, last = epochs_of(sampler, 3)
        assert set(flat(first)) == {*range(5), *range(20, 30)}
        assert max(flat(last)) > 50

    def test_sampling_weights(self):
        """The 2 main pairs are half of the drawn pairs: each is drawn four times as often as one of the other 8."""
        sampler = ResumableBatchSampler(2, 2, extra_sets=[(8, 0.5)])
        assert sampler.sampling_weights().tolist() == [2.5] * 2 + [0.625] * 8
        assert ResumableBatchSampler(4, 2).sampling_weights().tolist() == [1.0] * 4

    def test_extra_set_too_small_for_its_share(self):
        with pytest.raises(ConfigError, match=r"data\.mix\[1\] has 3 pairs, but its share of a batch of 32 is 8 pairs"):
            ResumableBatchSampler(64, 32, extra_sets=[(90, 0.25), (3, 0.25)])

    def test_hard_batches_exclude_extra_sets(self):
        with pytest.raises(
            ConfigError, match=r"data\.hard_batches=0\.5 and data\.mix with 1 set\(s\) cannot be combined"
        ):
            ResumableBatchSampler(64, 32, extra_sets=[(90, 0.25)], hard_batches=0.5)
