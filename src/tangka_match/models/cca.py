"""CCA matcher, fitted in closed form, without gradient steps."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.errors import DataFormatError, ShapeError
from tangka_match.models.correlation import PairedViews, choose_ridges, correlate
from tangka_match.models.hub_correction import HubCorrection
from tangka_match.models.layers import check_regions, check_sizes
from tangka_match.models.region_statistics import RegionStatistics
from tangka_match.models.text_encoders import WordBag
from tangka_match.ops import dot_products, l2_normalise
from tangka_match.types import Encoded, PairedCaptions, RegionBatches

INITIAL_SCALE = 0.02
"""Root mean square of the projection weights, before and after the fit."""


class CCA(nn.Module):
    """Regularised canonical correlation analysis between `RegionStatistics` of images and a `WordBag` of captions.

    Two matrices project them to the joint space, where the score is the cosine, corrected for hubs if wanted. `fit`,
    which the trainer calls before the first step, sets the codebook by k-means, word weights by document frequency, and
    the matrices by CCA, with two ridges chosen on a held-out sixth of the training images. The matrices are parameters,
    so that they can be fine-tuned.

    Args:
        vocab_size: Number of words in the vocabulary.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        embed_dim: Dimensions of the joint space.
        codebook_size: Number of centroids of the visual codebook.
        num_hashes: Number of hash values for characters and character bigrams.
        rank: Number of singular values kept of each view.
        hub_weight: Weight of the `HubCorrection`, whose banks `fit` fills; 0 = the plain cosine.

    Raises:
        ConfigError: If a size is below 1, or ``hub_weight`` below 0.
    """

    @check_sizes
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
        hub_weight: float | int = 0.0,
    ) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.rank = rank
        self.statistics = RegionStatistics(feature_dim, codebook_size)
        self.bag = WordBag(vocab_size, num_hashes)
        self.image_projection = nn.Parameter(INITIAL_SCALE * torch.randn(self.statistics.output_dim, embed_dim))
        self.text_projection = nn.Parameter(INITIAL_SCALE * torch.randn(vocab_size + num_hashes, embed_dim))
        self.hubs = HubCorrection(embed_dim, hub_weight) if hub_weight else None
        self.correction_dims = 2 if hub_weight else 0

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images as vectors, ``pooled``: L2-normalised, or with two more dimensions for the hub correction.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("CCA", regions, self.feature_dim)
        # Half precision would lose deviations from the mean, which are small compared to the statistics.
        with torch.autocast(regions.device.type, enabled=False):
            vectors = l2_normalise(self.statistics(regions, region_mask) @ self.image_projection)
        return Encoded(pooled=vectors if self.hubs is None else self.hubs.correct_images(vectors))

    def encode_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Encoded:
        """Encode captions as vectors, ``pooled``: L2-normalised, or with two more dimensions for the hub correction."""
        vectors = l2_normalise(self._project_texts(token_ids, token_mask))
        return Encoded(pooled=vectors if self.hubs is None else self.hubs.correct_texts(vectors))

    def _project_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "C D"]:
        features, weights = self.bag(token_ids, token_mask)
        if torch.onnx.is_in_onnx_export():  # ONNX has no embedding bag
            return (weights[:, None, :] @ self.text_projection[features]).squeeze(1)
        return functional.embedding_bag(features, self.text_projection, per_sample_weights=weights, mode="sum")

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Return the cosine of every image with every caption, less the hub correction, (I, C)."""
        assert images.pooled is not None and texts.pooled is not None
        return dot_products(images.pooled, texts.pooled)

    @torch.no_grad()
    def fit(self, images: RegionBatches, captions: PairedCaptions) -> dict[str, float]:
        """Fit all weights and buffers to training pairs.

        The codebook, the held-out pairs and the random start of the decompositions depend on torch's seed; the state of
        torch's generator does not change.

        Args:
            images: Training images, in batches.
            captions: Training captions. Their weights, if any, apply to the correlation and to the choice of the
                ridges, not to the codebook and the word weights.

        Returns:
            The chosen ridges, ``image_ridge`` and ``text_ridge``.

        Raises:
            ShapeError: If there are fewer than 12 images, too few to hold some out.
            DataFormatError: If all images, or all captions, have the same features.
        """
        generator = torch.Generator().manual_seed(torch.initial_seed())
        statistics = self.statistics.fit(images, generator)
        if len(statistics) < 12:
            raise ShapeError(f"CCA: {len(statistics)} training images; a sixth is held out, so at least 12 are needed")
        views = PairedViews(
            statistics, self._fit_texts(captions, generator), captions.caption_to_image, captions.weights
        )
        dim = self.image_projection.shape[1]
        ridges = choose_ridges(views, rank=self.rank, dim=dim, generator=generator)
        projections = correlate(*views.spectra(self.rank, generator), ridges, dim)
        if not all(bool(projection.any() and projection.isfinite().all()) for projection in projections):
            raise DataFormatError(_no_variation("captions" if statistics.any() else "images"))
        # The scale changes the effect of the learning rate, though not the cosine: keep the initial one.
        first, second = (item * (INITIAL_SCALE / item.square().mean().sqrt()) for item in projections)
        self.image_projection.copy_(first)
        self._set_text_projection(second)
        if self.hubs is not None:
            vectors = l2_normalise(views.first @ first), l2_normalise(views.second @ second)
            self.hubs.fit(*vectors, generator, views.both_weights())
        return {"image_ridge": ridges[0], "text_ridge": ridges[1]}

    def _fit_texts(self, captions: PairedCaptions, generator: torch.Generator) -> Tensor:
        """Fit the word weights; return the text view of the captions, (C, Q), sparse."""
        return self.bag.fit(captions.token_ids, captions.token_mask, captions.words)

    def _set_text_projection(self, projection: Float[Tensor, "Q D"]) -> None:
        self.text_projection.copy_(projection)


def _no_variation(side: str) -> str:
    return (
        f"CCA: all training {side} have the same features, so that nothing can be correlated. Images are compared by "
        "statistics of their regions, captions by words and characters that some but not all of them have: check the "
        "files of the train split, or use a model that is trained by gradient steps (model=dual_encoder)"
    )
