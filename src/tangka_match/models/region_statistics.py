"""Image features of CCA: statistics of the regions and their similarity to a visual codebook."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.ops import at_least_float32, l2_normalise, masked_max, masked_mean
from tangka_match.types import RegionBatches

_KMEANS_ROUNDS = 5
_REGIONS_PER_CENTROID = 32
"""Regions sampled for k-means, per centroid."""


class RegionStatistics(nn.Module):
    """Statistics over the real regions of an image, standardised on the training images.

    Five blocks: mean, standard deviation and maximum of each feature; and for each centroid of a spherical k-means
    codebook, the maximum and the mean square of the regions' cosines, clipped at 0. The codebook makes "which objects
    are in the picture" linearly decodable (bag of visual words: Sivic & Zisserman, "Video Google", ICCV 2003; Coates &
    Ng, "Learning Feature Representations with K-means", 2012). Each block is centred and scaled by one number, so that
    all blocks have the same variance. If all images are the same, all statistics are 0.

    Args:
        feature_dim: Dimensions of a region feature.
        codebook_size: Number of centroids.
    """

    center: Tensor
    centroids: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, feature_dim: int, codebook_size: int) -> None:
        super().__init__()
        self.block_sizes = (feature_dim, feature_dim, feature_dim, codebook_size, codebook_size)
        self.register_buffer("center", torch.zeros(feature_dim))
        self.register_buffer("centroids", torch.zeros(codebook_size, feature_dim))
        self.register_buffer("mean", torch.zeros(self.output_dim))
        self.register_buffer("scale", torch.ones(self.output_dim))

    @property
    def output_dim(self) -> int:
        """Number of statistics per image, S."""
        return sum(self.block_sizes)

    def forward(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I S"]:
        """Compute the ``S`` = ``output_dim`` standardised statistics of images, in at least float32."""
        return (self._raw(regions, region_mask) - self.mean) * self.scale

    def _raw(self, regions: Float[Tensor, "I R F"], mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I S"]:
        centred = (at_least_float32(regions) - self.center).masked_fill(~mask[:, :, None], 0)
        mean = masked_mean(centred, mask)
        spread = masked_mean((centred - mean[:, None]).square(), mask).clamp(min=1e-12).sqrt()
        codes = (l2_normalise(centred) @ self.centroids.T).relu()
        return torch.cat(
            [mean, spread, masked_max(centred, mask), masked_max(codes, mask), masked_mean(codes.square(), mask)], dim=1
        )

    @torch.no_grad()
    def fit(self, batches: RegionBatches, generator: torch.Generator) -> Float[Tensor, "N S"]:
        """Fit the codebook and the scales to training images; return their statistics.

        Args:
            batches: Training images; read three times.
            generator: Random generator for the sample of regions and the initial centroids.
        """
        chosen = _sample_regions(batches, len(self.centroids) * _REGIONS_PER_CENTROID, generator)
        self.center.copy_(chosen.mean(dim=0))
        self.centroids.copy_(spherical_kmeans(l2_normalise(chosen - self.center), len(self.centroids), generator))
        raw = torch.cat([self._raw(regions, mask) for regions, mask in batches()])
        self.mean.copy_(raw.mean(dim=0))
        raw -= self.mean
        # A lower bound on the divisor keeps a constant block from becoming noise.
        spreads = torch.stack([block.square().mean().sqrt() for block in raw.split(self.block_sizes, dim=1)])
        floor = 1e-3 * float(spreads.max())
        # Equal images differ by rounding errors only, which are relative to the features' size, or to 1 for cosines.
        size = chosen.square().mean().sqrt()
        differ = bool((spreads[:3] > 1e-6 * size).any() or (spreads[3:] > 1e-6).any())
        inverse = 1 / spreads.clamp(min=floor) if differ else torch.zeros_like(spreads)
        scales = [number.expand(size) for number, size in zip(inverse, self.block_sizes, strict=True)]
        self.scale.copy_(torch.cat(scales))
        return raw.mul_(self.scale)


def spherical_kmeans(
    vectors: Float[Tensor, "N F"], num_centroids: int, generator: torch.Generator
) -> Float[Tensor, "K F"]:
    """Cluster L2-normalised vectors by spherical k-means, starting from a random sample of them.

    Dhillon & Modha, "Concept Decompositions for Large Sparse Text Data using Clustering", 2001. A centroid without
    vectors keeps its value. With fewer vectors than centroids, initial centroids repeat.
    """
    order = torch.randperm(len(vectors), generator=generator)
    centroids = vectors[order.repeat(-(-num_centroids // len(order)))[:num_centroids]].clone()
    for _ in range(_KMEANS_ROUNDS):
        nearest = torch.cat([(block @ centroids.T).argmax(dim=1) for block in vectors.split(8192)])
        sums = torch.zeros_like(centroids).index_add_(0, nearest, vectors)
        centroids = torch.where(sums.norm(dim=1, keepdim=True) > 1e-6, l2_normalise(sums), centroids)
    return centroids


def _sample_regions(batches: RegionBatches, wanted: int, generator: torch.Generator) -> Float[Tensor, "N F"]:
    """Sample about ``wanted`` real regions, the same share of each batch."""
    total = sum(int(mask.sum()) for _, mask in batches())
    share = min(1.0, wanted / max(total, 1))
    chosen = []
    for regions, mask in batches():
        real = regions[mask]
        chosen.append(real[torch.rand(len(real), generator=generator) < share].float())
    found = torch.cat(chosen)
    return found if len(found) else next(iter(batches()))[0][:1, 0].float()
