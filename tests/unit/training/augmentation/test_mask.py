import torch

from tangka_match.training.augmentation.mask import mask_regions, mask_words


def test_hidden_regions_are_the_mean_of_the_real_ones_and_padding_stays():
    torch.manual_seed(0)
    regions = torch.tensor([[1.0, 3.0, 8.0, 99.0]]).repeat(500, 1)[..., None]
    mask = torch.tensor([[True, True, True, False]]).repeat(500, 1)
    hidden = mask_regions(regions, mask, 0.3)
    changed = hidden != regions
    assert not changed[:, 3].any()
    assert torch.equal(hidden[changed], torch.full_like(hidden[changed], 4.0))
    assert abs(changed[:, :3].float().mean() - 0.3) < 0.04


def test_half_precision_stays_half_precision():
    assert mask_regions(torch.ones(1, 2, 3).half(), torch.ones(1, 2, dtype=torch.bool), 0.5).dtype == torch.float16


def test_only_words_become_unknown():
    torch.manual_seed(0)
    ids = torch.tensor([[1, 7, 8, 9, 2, 0]]).repeat(500, 1)
    hidden = mask_words(ids, ids != 0, 0.25)
    changed = hidden != ids
    assert set(hidden[changed].tolist()) == {3}
    assert not changed[:, [0, 4, 5]].any()
    assert abs(changed[:, 1:4].float().mean() - 0.25) < 0.04
