import math

import pytest
import torch

from tangka_match.models.region_statistics import RegionStatistics, spherical_kmeans


def seeded():
    return torch.Generator().manual_seed(0)


def images(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randn(count, 5, 4, generator=generator).abs()
    return regions, torch.rand(count, 5, generator=generator) < 0.8


def batches_of(regions, mask):
    mask = mask | (torch.arange(mask.shape[1]) == 0)
    return lambda: zip(regions.split(7), mask.split(7), strict=True)


def test_statistics_by_hand():
    """One image with centred regions (3, 4) and (0, 1), and one with (-3, -4)."""
    statistics = RegionStatistics(2, 4)
    statistics.center.copy_(torch.tensor([1.0, -1.0]))
    centroids = {(1.0, 0.0): (0.6, 0.0), (0.0, 1.0): (0.8, 1.0), (-1.0, 0.0): (-0.6, 0.0), (0.0, -1.0): (-0.8, -1.0)}
    statistics.centroids.copy_(torch.tensor(list(centroids)))
    regions = torch.tensor([[[4.0, 3.0], [1.0, 0.0], [99.0, 99.0]], [[-99.0, 99.0], [-2.0, -5.0], [99.0, -99.0]]])
    found = statistics(regions, torch.tensor([[True, True, False], [False, True, False]]))
    mean, spread, largest = [1.5, 2.5], [1.5, 1.5], [3.0, 4.0]
    best = [0.6, 1.0, 0.0, 0.0]  # cosines with the last two centroids are negative
    mean_squares = [0.36 / 2, (0.64 + 1) / 2, 0.0, 0.0]
    torch.testing.assert_close(found[0], torch.tensor([*mean, *spread, *largest, *best, *mean_squares]))
    alone = [-3.0, -4.0, 0.0, 0.0, -3.0, -4.0, 0.0, 0.0, 0.6, 0.8, 0.0, 0.0, 0.36, 0.64]
    torch.testing.assert_close(found[1], torch.tensor(alone))


def test_fit_by_hand():
    """Three images of one region each, at distances of 12."""
    statistics = RegionStatistics(2, 1)
    regions = torch.tensor([[[-10.0, 4.0]], [[2.0, 4.0]], [[14.0, 4.0]]])
    found = statistics.fit(batches_of(regions, torch.ones(3, 1, dtype=torch.bool)), seeded())
    assert statistics.center.tolist() == [2, 4]
    # The mean block holds -12, 0, 12 and three zeros: mean square 48.
    across = 12 / math.sqrt(48)
    for block in (slice(0, 2), slice(4, 6)):
        torch.testing.assert_close(found[:, block], torch.tensor([[-across, 0], [0, 0], [across, 0]]))
    # One centroid, (1, 0) or (-1, 0): its cosine is 1 with one outer image, and at most 0 with the others.
    end = 0 if statistics.centroids[0, 0] < 0 else 2
    codes = torch.full((3,), -1 / math.sqrt(2))
    codes[end] = math.sqrt(2)
    torch.testing.assert_close(found[:, 6:], codes[:, None].expand(3, 2))


def test_fit_keeps_proportions_within_a_block():
    statistics = RegionStatistics(4, 3)
    regions, mask = images()
    wide = regions * torch.tensor([10.0, 1.0, 1.0, 1.0])
    statistics.fit(batches_of(wide, mask), seeded())
    assert [len(block.unique()) for block in statistics.scale.split(statistics.block_sizes)] == [1] * 5


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_statistics_of_equal_images_are_zero(size):
    """Rounding errors are not scaled to a variance of one."""
    statistics = RegionStatistics(4, 3)
    regions, mask = (each[:1].expand(40, *each.shape[1:]) for each in images())
    batches = batches_of(size * regions, mask)
    assert (statistics.fit(batches, seeded()) == 0).all()
    assert all((statistics(*batch) == 0).all() for batch in batches())


def test_fit_standardises_each_block():
    statistics = RegionStatistics(4, 3)
    regions, mask = images()
    found = statistics.fit(batches_of(100 * regions, mask), seeded())
    assert found.shape == (40, 18)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(18), atol=1e-4, rtol=0)
    for block in found.split(statistics.block_sizes, dim=1):
        assert block.square().mean().item() == pytest.approx(1.0, abs=1e-3)


def test_fit_returns_the_output_of_forward():
    statistics = RegionStatistics(4, 3)
    batches = batches_of(*images())
    fitted = statistics.fit(batches, seeded())
    torch.testing.assert_close(torch.cat([statistics(*batch) for batch in batches()]), fitted, atol=1e-4, rtol=1e-4)


def test_constant_block_stays_zero():
    """With one region per image, the standard deviation is zero."""
    statistics = RegionStatistics(4, 3)
    regions, mask = images()
    found = statistics.fit(batches_of(regions[:, :1], mask[:, :1]), seeded())
    assert torch.isfinite(found).all()
    assert found[:, 4:8].abs().max() < 0.01


def test_kmeans_finds_two_clusters():
    generator = seeded()
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    vectors = directions.repeat(30, 1) + 0.1 * torch.randn(60, 3, generator=generator)
    found = spherical_kmeans(torch.nn.functional.normalize(vectors, dim=1), 2, generator)
    assert (found @ directions.T).amax(dim=0).min() > 0.99


def test_kmeans_with_fewer_vectors_than_centroids():
    found = spherical_kmeans(torch.eye(2), 5, seeded())
    assert found.shape == (5, 2)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))


def test_codebook_ignores_padding():
    regions, mask = images()
    changed = torch.where((mask | (torch.arange(5) == 0))[:, :, None], regions, torch.full_like(regions, 1e6))
    first, second = RegionStatistics(4, 3), RegionStatistics(4, 3)
    torch.testing.assert_close(
        first.fit(batches_of(regions, mask), seeded()), second.fit(batches_of(changed, mask), seeded())
    )
