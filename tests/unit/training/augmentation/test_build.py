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


def augment(**shares):
    return build_augmentation(AugmentationSettings(**(NO_AUGMENTATION | shares)), VOCABULARY)


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
