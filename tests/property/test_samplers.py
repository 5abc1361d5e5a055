"""Properties of the batch order for resumed and distributed training."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.data.samplers import ResumableBatchSampler
from tangka_match.errors import ConfigError


def flat(batches):
    return list(chain.from_iterable(batches))


@st.composite
def sampler_settings(draw):
    num_pairs, batch_size = draw(st.integers(1, 60)), draw(st.integers(1, 12))
    drop_last = draw(st.booleans())
    chosen = {"num_pairs": num_pairs, "batch_size": batch_size, "seed": draw(st.integers(0, 9)), "drop_last": drop_last}
    if draw(st.booleans()):
        chosen["difficulty"] = np.array(draw(st.lists(st.floats(0, 9), min_size=num_pairs, max_size=num_pairs)))
        chosen["initial_competence"] = draw(st.floats(0.01, 1))
        chosen["total_epochs"] = draw(st.integers(1, 5))
    return chosen


@st.composite
def mixed_settings(draw):
    """Draw settings with one or two extra sets, large enough for the batches of four ranks."""
    shares = draw(st.lists(st.floats(0.05, 0.45), min_size=1, max_size=2))
    batch_size = draw(st.integers(1, 6))
    chosen = {
        "num_pairs": draw(st.integers(24, 60)),
        "batch_size": batch_size,
        "seed": draw(st.integers(0, 9)),
        "extra_sets": [(draw(st.integers(24, 90)), share) for share in shares],
        "drop_last": draw(st.booleans()),
    }
    if draw(st.booleans()):
        total = chosen["num_pairs"] + sum(count for count, _ in chosen["extra_sets"])
        chosen["difficulty"] = np.random.default_rng(draw(st.integers(0, 9))).random(total)
        chosen["initial_competence"] = draw(st.floats(0.01, 1))
        chosen["total_epochs"] = draw(st.integers(1, 5))
    return chosen


def at(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


@given(st.one_of(sampler_settings(), mixed_settings()), st.integers(0, 4), st.data())
@settings(deadline=None, max_examples=60)
def test_resuming_anywhere_gives_the_uninterrupted_order(chosen, epoch, data):
    uninterrupted = ResumableBatchSampler(**chosen)
    batches = at(uninterrupted, epoch)
    stop = data.draw(st.integers(0, len(uninterrupted)))
    resumed = ResumableBatchSampler(**chosen)
    resumed.start_at(epoch, stop)
    rest = list(resumed) if stop < len(resumed) else []
    assert batches[:stop] + rest == batches
    assert at(resumed, epoch + 1) == at(uninterrupted, epoch + 1)


@given(sampler_settings(), st.integers(0, 4))
@settings(deadline=None, max_examples=60)
def test_epochs_have_full_length_and_no_repeats_in_a_batch(chosen, epoch):
    sampler = ResumableBatchSampler(**chosen)
    batches = at(sampler, epoch)
    assert len(batches) == len(sampler) >= 1
    assert all(len(set(batch)) == len(batch) for batch in batches)
    if "difficulty" not in chosen:
        pairs = flat(batches)
        assert len(set(pairs)) == len(pairs)
        assert set(pairs) <= set(range(chosen["num_pairs"]))
        assert chosen["num_pairs"] - len(pairs) < (chosen["batch_size"] if chosen["drop_last"] else 1)


@given(st.one_of(sampler_settings(), mixed_settings()), st.integers(1, 4), st.integers(1, 200), st.integers(0, 2))
@settings(deadline=None, max_examples=60)
def test_small_sets_train_on_one_smaller_batch(chosen, world_size, missing, epoch):
    """If an epoch does not fill a batch, each rank has one smaller batch of equal size."""
    chosen["drop_last"] = True
    epoch_pairs = ResumableBatchSampler(**(chosen | {"batch_size": 1})).epoch_pairs
    chosen["batch_size"] = epoch_pairs // world_size + missing
    if epoch_pairs < world_size:
        with pytest.raises(ConfigError, match=f"{world_size} process.*an epoch has {epoch_pairs} pair"):
            ResumableBatchSampler(**chosen, world_size=world_size)
        return
    try:
        ranks = [at(ResumableBatchSampler(**chosen, rank=r, world_size=world_size), epoch) for r in range(world_size)]
    except ConfigError as error:  # an extra set is too small for its share of the batch
        assert "data.mix" in str(error)
        return
    assert [[len(batch) for batch in batches] for batches in ranks] == [[epoch_pairs // world_size]] * world_size
    pairs = flat(flat(ranks))
    assert len(set(pairs)) == len(pairs)
    fitting = ResumableBatchSampler(**(chosen | {"batch_size": epoch_pairs // world_size}), world_size=world_size)
    assert at(fitting, epoch) == ranks[0]


@given(st.one_of(sampler_settings(), mixed_settings()), st.integers(1, 4), st.integers(0, 2))
@settings(deadline=None, max_examples=60)
def test_ranks_split_the_batches_of_one_process(chosen, world_size, epoch):
    """An incomplete last batch is filled up until every rank has as many pairs."""
    chosen["drop_last"] = chosen["drop_last"] and chosen["num_pairs"] >= chosen["batch_size"] * world_size
    alone = at(ResumableBatchSampler(**(chosen | {"batch_size": chosen["batch_size"] * world_size})), epoch)
    ranks = [at(ResumableBatchSampler(**chosen, rank=r, world_size=world_size), epoch) for r in range(world_size)]
    assert {len(batches) for batches in ranks} == {len(alone)}
    for batch, *shares in zip(alone, *ranks, strict=True):
        assert all(shares)
        union = flat(shares)
        assert len({len(share) for share in shares}) == 1
        assert len(union) - len(batch) == -len(batch) % world_size
        assert not Counter(batch) - Counter(union)


@given(mixed_settings(), st.integers(0, 6))
@settings(deadline=None, max_examples=60)
def test_batches_have_the_shares_of_the_sets(chosen, epoch):
    sampler = ResumableBatchSampler(**chosen)
    shares = [share for _, share in chosen["extra_sets"]]
    shares.insert(0, 1 - sum(shares))
    bounds = np.cumsum([0, chosen["num_pairs"], *(count for count, _ in chosen["extra_sets"])])
    tolerance = 1 + (len(chosen["extra_sets"]) - 1) * max(shares)
    for batch in at(sampler, epoch):
        assert len(set(batch)) == len(batch)
        counts, _ = np.histogram(batch, bounds)
        assert counts.sum() == len(batch)
        assert np.abs(counts - np.array(shares) * len(batch)).max() <= tolerance + len(batch) / chosen["num_pairs"]


@given(mixed_settings())
@settings(deadline=None, max_examples=40)
def test_epochs_have_each_main_pair_once_and_extra_pairs_in_turn(chosen):
    for removed in ("difficulty", "initial_competence"):
        chosen.pop(removed, None)
    sampler = ResumableBatchSampler(**(chosen | {"drop_last": False}))
    seen = np.zeros(sum(part.count for part in sampler.sets), dtype=int)
    for epoch in range(5):
        pairs = np.array(flat(at(sampler, epoch)))[: sampler.epoch_pairs]
        seen += np.bincount(pairs, minlength=len(seen))
        for part in sampler.sets:
            taken = seen[part.first : part.first + part.count]
            assert taken.sum() == (epoch + 1) * part.drawn
            if part.drawn <= part.count:
                assert taken.max() - taken.min() <= 1
        assert (seen[: chosen["num_pairs"]] == epoch + 1).all()
