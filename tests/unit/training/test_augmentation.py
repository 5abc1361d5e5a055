import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_runs import NO_AUGMENTATION
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.training.augmentation import (
    RegionWordDrop,
    SynonymSwap,
    build_augmentation,
    drop_regions,
    drop_words,
    mask_regions,
    mask_words,
    mix_regions,
    swap_words,
)
from tangka_match.training.settings import AugmentationSettings
from tangka_match.types import RegionTextBatch

VOCABULARY = Vocabulary(["莲座", "莲台", "云", "山"])


def batch():
    ids = torch.tensor([[1, 4, 6, 7, 4, 2], [1, 5, 7, 6, 5, 2]]).repeat(8, 1)
    index, real = torch.arange(16), torch.ones(16, 9, dtype=torch.bool)
    regions = torch.rand(16, 9, 4, generator=torch.Generator().manual_seed(0))
    return RegionTextBatch(regions, real, ids, ids != 0, index, index, index)


def differ(one, other):
    pairs = zip(one._fields[:-1], one[:-1], other[:-1], strict=True)  # lengths repeat the mask
    return {name for name, a, b in pairs if a.shape != b.shape or not torch.equal(a, b)}


class WholePicture:
    whole_picture_first = True


def augment(matcher=None, **shares):
    return build_augmentation(AugmentationSettings(**(NO_AUGMENTATION | shares)), VOCABULARY, matcher)


def test_zero_shares_change_nothing_and_draw_no_random_numbers():
    before = torch.get_rng_state()
    assert not differ(augment()(batch()), batch())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("share", "changed"),
    [
        ("region_drop", {"region_mask"}),
        ("word_drop", {"token_ids", "token_mask"}),
        ("region_mask", {"regions"}),
        ("word_mask", {"token_ids"}),
        ("region_mix", {"regions"}),
        ("synonym", {"token_ids"}),
        ("word_swap", {"token_ids"}),
    ],
)
def test_each_share_changes_its_part_only_and_is_reproducible(share, changed):
    torch.manual_seed(0)
    once = augment(**{share: 0.5})(batch())
    assert differ(once, batch()) == changed
    torch.manual_seed(0)
    assert not differ(augment(**{share: 0.5})(batch()), once)


@pytest.mark.parametrize("share", ["region_drop", "region_mask", "region_mix"])
def test_whole_picture_region_is_never_changed(share):
    """The whole picture of another image would make the pair wrong."""
    given = batch()
    given.region_mask[3, 0] = False  # padding stays padding
    torch.manual_seed(0)
    found = augment(WholePicture(), **{share: 0.9})(given)
    assert torch.equal(found.regions[:, 0], given.regions[:, 0])
    assert torch.equal(found.region_mask[:, 0], given.region_mask[:, 0])
    assert differ(found, given) <= {"regions", "region_mask"}
    patches = found._replace(regions=found.regions[:, 1:], region_mask=found.region_mask[:, 1:])
    assert differ(patches, given._replace(regions=given.regions[:, 1:], region_mask=given.region_mask[:, 1:]))
    other = augment(**{share: 0.9})(given)
    assert (
        not torch.equal(other.regions[:, 0], given.regions[:, 0])
        or (other.region_mask != given.region_mask)[:, 0].any()
    )


def test_whole_picture_as_only_region_is_kept():
    given = batch()
    given = given._replace(regions=given.regions[:, :1], region_mask=given.region_mask[:, :1])
    assert not differ(augment(WholePicture(), region_drop=0.9, region_mask=0.9, region_mix=0.9)(given), given)


def caption(*lengths, width):
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(4, 4 + length)
        ids[row, 0], ids[row, length - 1] = 1, 2
    return ids, ids != 0


@settings(deadline=None, max_examples=30)
@given(lengths=st.lists(st.integers(2, 12), min_size=1, max_size=6), share=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_dropped_words_keep_order_start_end_and_padding(lengths, share, seed):
    torch.manual_seed(seed)
    ids, _ = caption(*lengths, width=12)
    short, short_mask, left = drop_words(ids, tuple(lengths), share)
    assert torch.equal(short != 0, short_mask)
    assert left == tuple(short_mask.sum(1).tolist())
    for row, length in enumerate(lengths):
        kept = short[row, : int(short_mask[row].sum())].tolist()
        original = ids[row, :length].tolist()
        assert (kept[0], kept[-1]) == (1, 2)
        assert kept == [word for word in original if word in kept]
        assert not short_mask[row, len(kept) :].any()


@settings(deadline=None, max_examples=30)
@given(real=st.lists(st.integers(1, 9), min_size=1, max_size=6), share=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_regions_are_only_dropped_and_at_least_one_is_kept(real, share, seed):
    torch.manual_seed(seed)
    mask = torch.arange(9)[None] < torch.tensor(real)[:, None]
    kept = drop_regions(mask, share)
    assert not (kept & ~mask).any()
    assert kept.any(dim=1).all()


def test_dropped_share_is_as_set():
    torch.manual_seed(0)
    mask = torch.ones(400, 36, dtype=torch.bool)
    ids, _ = caption(*[40] * 400, width=40)
    assert abs(1 - drop_regions(mask, 0.2).float().mean() - 0.2) < 0.01
    left = (drop_words(ids, (40,) * 400, 0.2)[1].sum() - 800) / (400 * 38)
    assert abs(1 - left - 0.2) < 0.01


def test_zero_drop_keeps_the_batch_and_the_generator():
    ids, mask = caption(3, 4, width=5)
    index = torch.arange(2)
    regions = torch.ones(2, 3, dtype=torch.bool)
    batch = RegionTextBatch(torch.rand(2, 3, 4), regions, ids, mask, index, index, index)
    before = torch.get_rng_state()
    assert RegionWordDrop(0.0, 0.0)(batch) is batch
    assert torch.equal(before, torch.get_rng_state())


def test_masked_regions_become_the_mean_of_the_real_ones():
    torch.manual_seed(0)
    regions = torch.tensor([[1.0, 3.0, 8.0, 99.0]]).repeat(500, 1)[..., None]
    mask = torch.tensor([[True, True, True, False]]).repeat(500, 1)
    hidden = mask_regions(regions, mask, 0.3)
    changed = hidden != regions
    assert not changed[:, 3].any()
    assert torch.equal(hidden[changed], torch.full_like(hidden[changed], 4.0))
    assert abs(changed[:, :3].float().mean() - 0.3) < 0.04


def test_half_precision_is_kept():
    assert mask_regions(torch.ones(1, 2, 3).half(), torch.ones(1, 2, dtype=torch.bool), 0.5).dtype == torch.float16


def test_only_words_are_masked():
    torch.manual_seed(0)
    ids = torch.tensor([[1, 7, 8, 9, 2, 0]]).repeat(500, 1)
    hidden = mask_words(ids, ids != 0, 0.25)
    changed = hidden != ids
    assert set(hidden[changed].tolist()) == {3}
    assert not changed[:, [0, 4, 5]].any()
    assert abs(changed[:, 1:4].float().mean() - 0.25) < 0.04


def test_mixed_regions_come_from_one_other_image_at_the_same_position():
    torch.manual_seed(0)
    images, places = torch.arange(40.0)[:, None], torch.arange(50.0)[None]
    regions = (100 * images + places)[..., None]
    mask = torch.ones(40, 50, dtype=torch.bool)
    mask[0, 25:] = False
    mixed = mix_regions(regions, mask, 0.2)[..., 0]
    changed = mixed != regions[..., 0]
    assert torch.equal(mixed % 100, places.expand(40, 50))
    assert abs(changed.float().mean() - 0.2) < 0.03
    assert not changed[0, 25:].any()
    for image in range(40):
        partners = set((mixed[image][changed[image]] // 100).tolist())
        assert len(partners) == 1
        assert image not in partners
        if partners == {0.0}:
            assert not changed[image, 25:].any()


def test_batch_of_one_is_not_mixed():
    regions = torch.rand(1, 3, 2)
    assert mix_regions(regions, torch.ones(1, 3, dtype=torch.bool), 0.9) is regions


def test_words_are_swapped_within_pairs_from_the_first_or_second_word():
    """Five words and a share of nearly one."""
    torch.manual_seed(0)
    ids = torch.tensor([[1, 10, 11, 12, 13, 14, 2, 0]]).repeat(200, 1)
    swapped = swap_words(ids, ids != 0, 1 - 1e-7)
    assert {tuple(row) for row in swapped.tolist()} == {(1, 11, 10, 13, 12, 14, 2, 0), (1, 10, 12, 11, 14, 13, 2, 0)}


def test_swapped_share_is_that_of_the_pairs():
    torch.manual_seed(0)
    ids = torch.tensor([[1, *range(10, 50), 2]]).repeat(200, 1)
    swapped = swap_words(ids, ids != 0, 0.2)
    assert torch.equal(swapped.sort(1).values, ids.sort(1).values)
    assert abs((swapped != ids)[:, 2:-2].float().mean() - 0.2) < 0.02


def test_only_words_with_synonyms_are_replaced_and_uniformly():
    torch.manual_seed(0)
    ids = torch.tensor([[1, 4, 5, 6, 2, 0]]).repeat(2000, 1)
    replaced = SynonymSwap({4: (6, 7), 6: (4, 7), 7: (4, 6)}, 8, 0.5)(ids)
    assert torch.equal(replaced[:, [0, 2, 4, 5]], ids[:, [0, 2, 4, 5]])
    counts = torch.stack([(replaced[:, 1] == word).float().mean() for word in (4, 6, 7)])
    assert torch.allclose(counts, torch.tensor([0.5, 0.25, 0.25]), atol=0.04)


def test_vocabulary_without_synonyms_is_not_changed():
    ids = torch.tensor([[1, 4, 2]])
    assert torch.equal(SynonymSwap({}, 5, 0.9)(ids), ids)
