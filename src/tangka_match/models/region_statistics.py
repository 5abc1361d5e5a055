"""An image as statistics of its regions: mean, spread, maximum, and how well they fit a visual codebook."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.ops import at_least_float32, l2_normalise, masked_max, masked_mean
from tangka_match.types import RegionBatches

_KMEANS_ROUNDS = 5
_REGIONS_A_CENTROID = 32
"""Regions that k-means looks at, as a multiple of the codebook's size."""


class RegionStatistics(nn.Module):
    """Fixed statistics over the real regions of an image, fitted to the training images without their captions.

    Five blocks: mean, standard deviation and maximum of every feature; and of every centroid of a spherical k-means
    codebook, the largest and the mean squared cosine (below 0 counted as 0) that a region has with it. The codebook is
    what makes "which things are in the picture" a linear question (bag of visual words: Sivic & Zisserman, "Video
    Google", ICCV 2003; Coates & Ng, "Learning Feature Representations with K-means", 2012). Every block is centred and
    scaled by one number: all blocks have the same variance, and dimensions inside a block keep their proportions. Of
    images that are all alike, all statistics are 0.

    Args:
        feature_dim: Dimensions of a region feature.
        codebook_size: Centroids.
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
        """Numbers an image."""
        return sum(self.block_sizes)

    def forward(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I S"]:
        """Compute the ``S`` = ``output_dim`` standardised statistics of images, in float32."""
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
        """Set the codebook and the scales from training images; returns the statistics of these images.

        Args:
            batches: The training images; read three times.
            generator: Chooses the regions that k-means sees, and where it starts.
        """
        chosen = _sample_regions(batches, len(self.centroids) * _REGIONS_A_CENTROID, generator)
        self.center.copy_(chosen.mean(dim=0))
        self.centroids.copy_(spherical_kmeans(l2_normalise(chosen - self.center), len(self.centroids), generator))
        raw = torch.cat([self._raw(regions, mask) for regions, mask in batches()])
        self.mean.copy_(raw.mean(dim=0))
        raw -= self.mean
        # At least a thousandth of the largest spread, so that a block that is constant does not become noise.
        spreads = torch.stack([block.square().mean().sqrt() for block in raw.split(self.block_sizes, dim=1)])
        floor = 1e-3 * float(spreads.max())
        # Images that are all alike differ by rounding only: that is no statistic, and is left at 0. Features round by
        # their size, cosines by 1.
        size = chosen.square().mean().sqrt()
        differ = bool((spreads[:3] > 1e-6 * size).any() or (spreads[3:] > 1e-6).any())
        inverse = 1 / spreads.clamp(min=floor) if differ else torch.zeros_like(spreads)
        scales = [number.expand(size) for number, size in zip(inverse, self.block_sizes, strict=True)]
        self.scale.copy_(torch.cat(scales))
        return raw.mul_(self.scale)


def spherical_kmeans(
    vectors: Float[Tensor, "N F"], num_centroids: int, generator: torch.Generator
) -> Float[Tensor, "K F"]:
    """Group unit vectors by direction: Lloyd's iterations with the cosine, from ``num_centroids`` of the vectors.

    Dhillon & Modha, "Concept Decompositions for Large Sparse Text Data using Clustering", 2001. A centroid that loses
    all its vectors stays where it was. With fewer vectors than centroids, vectors repeat.
    """
    order = torch.randperm(len(vectors), generator=generator)
    centroids = vectors[order.repeat(-(-num_centroids // len(order)))[:num_centroids]].clone()
    for _ in range(_KMEANS_ROUNDS):
        nearest = torch.cat([(block @ centroids.T).argmax(dim=1) for block in vectors.split(8192)])
        sums = torch.zeros_like(centroids).index_add_(0, nearest, vectors)
        centroids = torch.where(sums.norm(dim=1, keepdim=True) > 1e-6, l2_normalise(sums), centroids)
    return centroids


def _sample_regions(batches: RegionBatches, wanted: int, generator: torch.Generator) -> Float[Tensor, "N F"]:
    """About ``wanted`` real regions, the same share of every batch."""
    total = sum(int(mask.sum()) for _, mask in batches())
    share = min(1.0, wanted / max(total, 1))
    chosen = []
    for regions, mask in batches():
        real = regions[mask]
        chosen.append(real[torch.rand(len(real), generator=generator) < share].float())
    found = torch.cat(chosen)
    return found if len(found) else next(iter(batches()))[0][:1, 0].float()
