"""PretrainedCCA matcher: canonical correlation with sentence vectors of a pretrained text encoder, in closed form."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.cca import CCA, INITIAL_SCALE
from tangka_match.models.gaussian_kernel import COMPONENTS, GaussianKernel
from tangka_match.models.layers import check_choice, check_sizes
from tangka_match.models.text_tower import TextTower, resolve_config
from tangka_match.types import PairedCaptions

_CAPTIONS_PER_BATCH = 64
_KERNEL_NORM = 2**0.5
"""Root mean square of the norms of kernel features; chosen by cross-validation on f8kcn_small, little better than 1."""


class PretrainedCCA(CCA):
    """`CCA` whose text view also contains the sentence vector of a frozen pretrained text encoder.

    The sentence vector is the mean of the encoder's last states over all word pieces, start and end included, centred
    on the training captions and scaled to a mean squared norm of 1, so that it weighs about as much as the bag of word
    pieces, characters and character bigrams. With ``sentence_kernel="gaussian"`` the view contains its `GaussianKernel`
    features instead, with a mean squared norm of 2. `fit` encodes every training caption once.

    Args:
        vocab_size: Number of words in the vocabulary: all word pieces of the encoder (``data/tokenizer=pieces``).
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        text_model: Folder of the pretrained model, or its name on the Hugging Face hub: BERT, RoBERTa-wwm, MacBERT,
            ERNIE, sentence encoders of these architectures such as E5 and BGE, or the text tower of a Chinese-CLIP.
        text_config: Its config, which a checkpoint stores in place of ``text_model``; the weights are then random until
            those of the checkpoint are loaded.
        embed_dim: Dimensions of the joint space.
        codebook_size: Number of centroids of the visual codebook.
        num_hashes: Number of hash values for characters and character bigrams.
        rank: Number of singular values kept of each view.
        hub_weight: Weight of the `HubCorrection`, as for `CCA`.
        sentence_kernel: What the text view contains: ``"linear"``, the sentence vectors; ``"gaussian"``, their kernel
            features.

    Raises:
        ConfigError: If a setting is out of range, or the pretrained model cannot be read or does not fit the
            vocabulary.
    """

    sentence_mean: Tensor
    sentence_scale: Tensor

    @check_sizes
    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        text_model: str | None = None,
        text_config: dict[str, Any] | None = None,
        embed_dim: int = 512,
        codebook_size: int = 256,
        num_hashes: int = 16384,
        rank: int = 800,
        hub_weight: float | int = 0.0,
        sentence_kernel: str = "linear",
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            feature_dim=feature_dim,
            num_regions=num_regions,
            embed_dim=embed_dim,
            codebook_size=codebook_size,
            num_hashes=num_hashes,
            rank=rank,
            hub_weight=hub_weight,
        )
        check_choice("PretrainedCCA", "sentence_kernel", sentence_kernel, ("linear", "gaussian"))
        self._config = resolve_config(text_model, text_config)
        self.text_tower = TextTower.pretrained(self._config, text_model, vocab_size, lr_multiplier=1.0, thaw_at=1.0)
        self.text_tower.requires_grad_(False)  # else DDP would wait for its gradients
        self.kernel = GaussianKernel(self.text_tower.width) if sentence_kernel == "gaussian" else None
        width = self.text_tower.width if self.kernel is None else COMPONENTS
        self.sentence_projection = nn.Parameter(INITIAL_SCALE * torch.randn(width, embed_dim))
        self.register_buffer("sentence_mean", torch.zeros(width))
        self.register_buffer("sentence_scale", torch.ones(()))

    def _project_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "C D"]:
        # Half precision would lose the differences between sentence vectors, whose cosines are all above 0.7 for E5.
        with torch.autocast(token_ids.device.type, enabled=False):
            sentences = self.text_tower.sentences(token_ids, token_mask)
            if self.kernel is not None:
                sentences = self.kernel(sentences)
            sentences = (sentences - self.sentence_mean) * self.sentence_scale
            return super()._project_texts(token_ids, token_mask) + sentences @ self.sentence_projection

    def _fit_texts(self, captions: PairedCaptions, generator: torch.Generator) -> Tensor:
        bag = super()._fit_texts(captions, generator)
        parts = []
        for start in range(0, len(captions.token_ids), _CAPTIONS_PER_BATCH):
            mask = captions.token_mask[start : start + _CAPTIONS_PER_BATCH]
            longest = int(mask.sum(dim=1).max())  # of this batch, not of the whole set
            ids = captions.token_ids[start : start + _CAPTIONS_PER_BATCH]
            parts.append(self.text_tower.sentences(ids[:, :longest], mask[:, :longest]))
        sentences = torch.cat(parts)
        if self.kernel is not None:
            self.kernel.fit(sentences, generator)
            sentences = self.kernel(sentences)
        size = _root_mean_norm(sentences)
        self.sentence_mean.copy_(sentences.mean(dim=0))
        sentences = sentences - self.sentence_mean
        spread = _root_mean_norm(sentences)
        wanted = 1.0 if self.kernel is None else _KERNEL_NORM
        # Equal sentence vectors differ from their mean by rounding errors only.
        self.sentence_scale.copy_(wanted / spread if spread > 1e-6 * size else torch.zeros(()))
        return torch.cat([bag, (sentences * self.sentence_scale).to_sparse()], dim=1).coalesce()

    def _set_text_projection(self, projection: Float[Tensor, "Q D"]) -> None:
        bag_size = len(self.text_projection)
        self.text_projection.copy_(projection[:bag_size])
        self.sentence_projection.copy_(projection[bag_size:])

    def lr_multipliers(self) -> Mapping[str, float | int]:
        """Return no multiples: the encoder is not trained."""
        return {}

    def set_progress(self, progress: float) -> None:
        """Do nothing: the encoder is frozen from the beginning to the end."""

    def checkpoint_arguments(self) -> dict[str, Any]:
        """Replace the folder or name of the pretrained model by its config."""
        return {"text_model": None, "text_config": self._config}


def _root_mean_norm(vectors: Float[Tensor, "N D"]) -> Tensor:
    """Root mean square of the norms."""
    return vectors.square().sum(dim=1).mean().sqrt()
