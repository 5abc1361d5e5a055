import torch

from tangka_match.training.augmentation.mix import mix_regions


def test_regions_come_from_one_other_image_in_their_place_and_only_real_ones():
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


def test_a_batch_of_one_has_nobody_to_mix_with():
    regions = torch.rand(1, 3, 2)
    assert mix_regions(regions, torch.ones(1, 3, dtype=torch.bool), 0.9) is regions
