"""CCA, a matcher that is fitted in closed form: seconds, no gradient, and hard to overfit on a few thousand pairs."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.errors import DataFormatError, ShapeError
from tangka_match.models.correlation import PairedViews, choose_ridges, correlate
from tangka_match.models.layers import check_regions, check_sizes
from tangka_match.models.region_statistics import RegionStatistics
from tangka_match.models.text_encoders import WordBag
from tangka_match.ops import dot_products, l2_normalise
from tangka_match.types import Encoded, PairedCaptions, RegionBatches

_INITIAL_SCALE = 0.02
"""Root mean square of the entries of the matrices, before and after the fit."""


class CCA(nn.Module):
    """Canonical correlation between statistics of regions and a bag of words, as the start of a matcher.

    The image is `RegionStatistics`, the caption `WordBag`; two matrices map them into the joint space, where the score
    is the cosine. `fit` sets everything from the training pairs: a codebook by k-means, word weights by document
    frequency, the matrices by regularised canonical correlation, whose two ridges are chosen on a sixth of the training
    pairs. Until it is called the model scores at random; the trainer calls it before the first step. The matrices are
    parameters, so that gradient steps may go on from there.

    Args:
        vocab_size: Words in the vocabulary.
        feature_dim: Dimensions of a region feature.
        num_regions: Regions of an image in the data; any number works.
        embed_dim: Dimensions of the joint space.
        codebook_size: Centroids of the visual codebook.
        num_hashes: Hash values for characters and pairs of neighbouring characters.
        rank: Singular values of either view that are looked at.

    Raises:
        ConfigError: A size is not positive.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        embed_dim: int = 512,
        codebook_size: int = 256,
        num_hashes: int = 16384,
        rank: int = 800,
    ) -> None:
        super().__init__()
        check_sizes(
            "CCA",
            {
                "vocab_size": vocab_size,
                "feature_dim": feature_dim,
                "num_regions": num_regions,
                "embed_dim": embed_dim,
                "codebook_size": codebook_size,
                "num_hashes": num_hashes,
                "rank": rank,
            },
        )
        self.feature_dim = feature_dim
        self.rank = rank
        self.statistics = RegionStatistics(feature_dim, codebook_size)
        self.bag = WordBag(vocab_size, num_hashes)
        self.image_projection = nn.Parameter(_INITIAL_SCALE * torch.randn(self.statistics.output_dim, embed_dim))
        self.text_projection = nn.Parameter(_INITIAL_SCALE * torch.randn(vocab_size + num_hashes, embed_dim))

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images into L2-normalised vectors, ``pooled``.

        Raises:
            ShapeError: The features have other dimensions than the model was built for.
        """
        check_regions("CCA", regions, self.feature_dim)
        # Deviations from the mean are small against the statistics: half precision would lose them.
        with torch.autocast(regions.device.type, enabled=False):
            return Encoded(pooled=l2_normalise(self.statistics(regions, region_mask) @ self.image_projection))

    def encode_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Encoded:
        """Encode captions into L2-normalised vectors, ``pooled``."""
        features, weights = self.bag(token_ids, token_mask)
        summed = functional.embedding_bag(features, self.text_projection, per_sample_weights=weights, mode="sum")
        return Encoded(pooled=l2_normalise(summed))

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Cosine of every image with every caption, in [-1, 1] up to rounding; higher = closer."""
        assert images.pooled is not None and texts.pooled is not None
        return dot_products(images.pooled, texts.pooled)

    @torch.no_grad()
    def fit(self, images: RegionBatches, captions: PairedCaptions) -> dict[str, float]:
        """Set everything from training pairs.

        The seed of torch's generator decides the codebook, the held-out pairs and where the decompositions start; its
        state is left alone. Models of several seeds can be averaged.

        Args:
            images: The training images, in batches.
            captions: The training captions. Where they have weights, a pair counts in the correlation and in the choice
                of the ridges as if it came so many times; the codebook and the word weights count each once.

        Returns:
            The ridges that were chosen, ``image_ridge`` and ``text_ridge``.

        Raises:
            ShapeError: Fewer than 12 images: nothing could be held out.
            DataFormatError: All images, or all captions, look alike to the model: nothing could be correlated.
        """
        generator = torch.Generator().manual_seed(torch.initial_seed())
        statistics = self.statistics.fit(images, generator)
        if len(statistics) < 12:
            raise ShapeError(f"CCA: {len(statistics)} training images; a sixth is held out, so at least 12 are needed")
        second = self.bag.fit(captions.token_ids, captions.token_mask, captions.words)
        views = PairedViews(statistics, second, captions.caption_to_image, captions.weights)
        dim = self.image_projection.shape[1]
        ridges = choose_ridges(views, rank=self.rank, dim=dim, generator=generator)
        projections = correlate(*views.spectra(self.rank, generator), ridges, dim)
        if not all(bool(projection.any() and projection.isfinite().all()) for projection in projections):
            raise DataFormatError(_all_alike("captions" if statistics.any() else "images"))
        for weight, projection in zip((self.image_projection, self.text_projection), projections, strict=True):
            # The cosine does not see a scale, but a learning rate does: leave the weights as large as they began.
            weight.copy_(projection * (_INITIAL_SCALE / projection.square().mean().sqrt()))
        return {"image_ridge": ridges[0], "text_ridge": ridges[1]}


def _all_alike(what: str) -> str:
    return (
        f"CCA: the training {what} are all alike, so there is nothing to correlate: images are compared by statistics "
        "of their regions, captions by words and characters that at least two captions have, and not all. Look at the "
        "files of the train split, or take a model that is trained by gradient (model=dual_encoder)"
    )
