import pytest
import torch

from helpers.small_runs import NO_AUGMENTATION
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.training.augmentation import build_augmentation
from tangka_match.training.settings import AugmentationSettings
from tangka_match.types import RegionTextBatch

VOCABULARY = Vocabulary(["莲座", "莲台", "云", "山"])


def batch():
    ids = torch.tensor([[1, 4, 6, 7, 4, 2], [1, 5, 7, 6, 5, 2]]).repeat(8, 1)
    index, real = torch.arange(16), torch.ones(16, 9, dtype=torch.bool)
    regions = torch.rand(16, 9, 4, generator=torch.Generator().manual_seed(0))
    return RegionTextBatch(regions, real, ids, ids != 0, index, index, index)


def differ(one, other):
    pairs = zip(one._fields, one, other, strict=True)
    return {name for name, a, b in pairs if a.shape != b.shape or not torch.equal(a, b)}


class WholePicture:
    whole_picture_first = True


def augment(matcher=None, **shares):
    return build_augmentation(AugmentationSettings(**(NO_AUGMENTATION | shares)), VOCABULARY, matcher)


def test_no_share_changes_nothing_and_draws_nothing():
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
def test_each_share_changes_its_part_alone_the_same_way_from_one_seed(share, changed):
    torch.manual_seed(0)
    once = augment(**{share: 0.5})(batch())
    assert differ(once, batch()) == changed
    torch.manual_seed(0)
    assert not differ(augment(**{share: 0.5})(batch()), once)


@pytest.mark.parametrize("share", ["region_drop", "region_mask", "region_mix"])
def test_a_whole_picture_is_left_alone_and_its_patches_are_not(share):
    """A pair whose whole picture came from another pair would be a wrong one."""
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


def test_a_whole_picture_alone_stays():
    given = batch()
    given = given._replace(regions=given.regions[:, :1], region_mask=given.region_mask[:, :1])
    assert not differ(augment(WholePicture(), region_drop=0.9, region_mask=0.9, region_mix=0.9)(given), given)
