import pytest
import torch

from tangka_match.models.region_statistics import RegionStatistics, spherical_kmeans

MASK = torch.tensor([[True, True, False]])


def seeded():
    return torch.Generator().manual_seed(0)


def images(count=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    regions = torch.randn(count, 5, 4, generator=generator).abs()
    return regions, torch.rand(count, 5, generator=generator) < 0.8


def batches_of(regions, mask):
    mask = mask | (torch.arange(mask.shape[1]) == 0)
    return lambda: zip(regions.split(7), mask.split(7), strict=True)


def test_worked_case():
    """Regions (3, 0) and (0, 1), codebook (1, 0) and (-1, 0)."""
    statistics = RegionStatistics(2, 2)
    statistics.centroids.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    found = statistics(torch.tensor([[[3.0, 0.0], [0.0, 1.0], [99.0, 99.0]]]), MASK)
    mean, spread, largest = [1.5, 0.5], [1.5, 0.5], [3.0, 1.0]
    best, energy = [1.0, 0.0], [0.5, 0.0]  # cosines 1 and 0 with the first, -1 and 0 with the second
    torch.testing.assert_close(found, torch.tensor([[*mean, *spread, *largest, *best, *energy]]))


def test_fit_centres_everything_and_gives_every_block_the_same_variance():
    statistics = RegionStatistics(4, 3)
    regions, mask = images()
    found = statistics.fit(batches_of(100 * regions, mask), seeded())
    assert found.shape == (40, 18)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(18), atol=1e-4, rtol=0)
    for block in found.split(statistics.block_sizes, dim=1):
        assert block.square().mean().item() == pytest.approx(1.0, abs=1e-3)


def test_fit_returns_what_forward_gives():
    statistics = RegionStatistics(4, 3)
    batches = batches_of(*images())
    fitted = statistics.fit(batches, seeded())
    torch.testing.assert_close(torch.cat([statistics(*batch) for batch in batches()]), fitted, atol=1e-4, rtol=1e-4)


def test_a_constant_block_stays_zero():
    """One region an image: the spread is zero everywhere."""
    statistics = RegionStatistics(4, 3)
    regions, mask = images()
    found = statistics.fit(batches_of(regions[:, :1], mask[:, :1]), seeded())
    assert torch.isfinite(found).all()
    assert found[:, 4:8].abs().max() < 0.01


def test_kmeans_finds_two_directions():
    generator = seeded()
    directions = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    vectors = directions.repeat(30, 1) + 0.1 * torch.randn(60, 3, generator=generator)
    found = spherical_kmeans(torch.nn.functional.normalize(vectors, dim=1), 2, generator)
    assert (found @ directions.T).amax(dim=0).min() > 0.99


def test_fewer_vectors_than_centroids_repeat():
    found = spherical_kmeans(torch.eye(2), 5, seeded())
    assert found.shape == (5, 2)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))


def test_the_codebook_does_not_see_padding():
    regions, mask = images()
    spoilt = torch.where((mask | (torch.arange(5) == 0))[:, :, None], regions, torch.full_like(regions, 1e6))
    first, second = RegionStatistics(4, 3), RegionStatistics(4, 3)
    torch.testing.assert_close(
        first.fit(batches_of(regions, mask), seeded()), second.fit(batches_of(spoilt, mask), seeded())
    )
