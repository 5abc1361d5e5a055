import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.training.augmentation.drop import RegionWordDrop, drop_regions, drop_words
from tangka_match.types import RegionTextBatch


def caption(*lengths, width):
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(4, 4 + length)
        ids[row, 0], ids[row, length - 1] = 1, 2
    return ids, ids != 0


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(2, 12), min_size=1, max_size=6), share=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_words_keep_order_sentinels_and_padding_at_the_end(lengths, share, seed):
    torch.manual_seed(seed)
    ids, mask = caption(*lengths, width=12)
    short, short_mask = drop_words(ids, mask, share)
    assert torch.equal(short != 0, short_mask)
    for row, length in enumerate(lengths):
        kept = short[row, : int(short_mask[row].sum())].tolist()
        original = ids[row, :length].tolist()
        assert (kept[0], kept[-1]) == (1, 2)
        assert kept == [word for word in original if word in kept]
        assert not short_mask[row, len(kept) :].any()


@settings(deadline=None, max_examples=30)
@given(real=st.lists(st.integers(1, 9), min_size=1, max_size=6), share=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_regions_are_only_taken_away_and_one_always_stays(real, share, seed):
    torch.manual_seed(seed)
    mask = torch.arange(9)[None] < torch.tensor(real)[:, None]
    kept = drop_regions(mask, share)
    assert not (kept & ~mask).any()
    assert kept.any(dim=1).all()


def test_the_share_is_what_it_says():
    torch.manual_seed(0)
    mask = torch.ones(400, 36, dtype=torch.bool)
    ids, words = caption(*[40] * 400, width=40)
    assert abs(1 - drop_regions(mask, 0.2).float().mean() - 0.2) < 0.01
    left = (drop_words(ids, words, 0.2)[1].sum() - 800) / (400 * 38)
    assert abs(1 - left - 0.2) < 0.01


def test_no_share_leaves_the_batch_and_the_generator_alone():
    ids, mask = caption(3, 4, width=5)
    index = torch.arange(2)
    regions = torch.ones(2, 3, dtype=torch.bool)
    batch = RegionTextBatch(torch.rand(2, 3, 4), regions, ids, mask, index, index, index)
    before = torch.get_rng_state()
    assert RegionWordDrop(0.0, 0.0)(batch) is batch
    assert torch.equal(before, torch.get_rng_state())
