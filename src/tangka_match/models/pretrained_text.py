"""PretrainedText matcher: a dual encoder with a pretrained text encoder, VSE∞ with BERT included."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.layers import check_choice, check_dropout, check_regions, check_sizes, xavier_linears_
from tangka_match.models.pooling import GeneralisedPooling
from tangka_match.models.region_encoders import RegionMLP
from tangka_match.models.text_tower import TextTower, resolve_config
from tangka_match.ops import at_least_float32, dot_products, l2_normalise, masked_max, masked_mean
from tangka_match.types import Encoded


class PretrainedText(nn.Module):
    """Dual encoder: linear layer and max pooling of regions, pretrained encoder and mean pooling of word pieces.

    After Chen et al., "Learning the Best Pooling Strategy for Visual Semantic Embedding", arXiv 2011.04305: their BERT
    variant trains the encoder with 0.1 times the learning rate, and section 5.3 finds max pooling of regions nearly as
    good as a learnt pooling. ``pooling="gpo"`` is that variant as published: a perceptron with batch norm on regions,
    and the generalised pooling operator over regions and over projected word pieces.

    Args:
        vocab_size: Number of words in the vocabulary: all word pieces of the encoder (``data/tokenizer=pieces``).
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        text_model: Folder of the pretrained model, or its name on the Hugging Face hub: BERT, RoBERTa-wwm, MacBERT,
            ERNIE, or the text tower of a Chinese-CLIP.
        text_config: Its config, which a checkpoint stores in place of ``text_model``; the weights are then random until
            those of the checkpoint are loaded.
        embed_dim: Dimensions of the joint space.
        pooling: ``"max"`` (linear layer and maximum of regions, mean of word pieces) or ``"gpo"``.
        text_lr_multiplier: Learning rate of the encoder, as a multiple of the optimizer's.
        thaw_at: Share of the run during which the encoder is frozen; 0 = never, 1 = always.
        dropout: Dropout probability of the pooled vectors; of the projected word pieces with ``"gpo"``.

    Raises:
        ConfigError: If a number is out of range, ``pooling`` is unknown, or the pretrained model cannot be read or does
            not fit the vocabulary.
    """

    @check_sizes
    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        text_model: str | None = None,
        text_config: dict[str, Any] | None = None,
        embed_dim: int = 1024,
        pooling: str = "max",
        text_lr_multiplier: float | int = 0.1,
        thaw_at: float | int = 0.0,
        dropout: float | int = 0.1,
    ) -> None:
        super().__init__()
        check_dropout("PretrainedText", dropout)
        check_choice("PretrainedText", "pooling", pooling, ("max", "gpo"))
        self.feature_dim = feature_dim
        self._config = resolve_config(text_model, text_config)
        self._is_gpo = pooling == "gpo"
        if self._is_gpo:
            self.region_encoder = RegionMLP(feature_dim, embed_dim, 0.0, batch_norm=True)
            self.image_pooling, self.text_pooling = GeneralisedPooling(), GeneralisedPooling()
        else:
            self.region_projection = nn.Linear(feature_dim, embed_dim)
            xavier_linears_(self.region_projection)
        self.text_tower = TextTower.pretrained(
            self._config, text_model, vocab_size, lr_multiplier=text_lr_multiplier, thaw_at=thaw_at
        )
        self.text_projection = nn.Linear(self.text_tower.width, embed_dim)
        self.dropout = nn.Dropout(dropout)
        xavier_linears_(self.text_projection)

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images as L2-normalised vectors, ``pooled``.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("PretrainedText", regions, self.feature_dim)
        if self._is_gpo:
            pooled = self.image_pooling(self.region_encoder(regions, region_mask), region_mask)
        else:
            pooled = self.dropout(masked_max(self.region_projection(regions), region_mask))
        return Encoded(pooled=l2_normalise(at_least_float32(pooled)))

    def encode_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Encoded:
        """Encode captions as L2-normalised vectors, ``pooled``."""
        states = self.text_tower(token_ids, token_mask)
        if self._is_gpo:
            pooled = self.text_pooling(self.dropout(self.text_projection(states)), token_mask)
        else:
            pooled = self.dropout(self.text_projection(masked_mean(states, token_mask)))
        return Encoded(pooled=l2_normalise(at_least_float32(pooled)))

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Return the cosine of every image with every caption, (I, C)."""
        assert images.pooled is not None and texts.pooled is not None
        return dot_products(images.pooled, texts.pooled)

    def lr_multipliers(self) -> Mapping[str, float | int]:
        """Return the learning rate of the encoder, as a multiple of the optimizer's."""
        return {"text_tower": self.text_tower.lr_multiplier}

    def set_progress(self, progress: float) -> None:
        """Freeze or thaw the encoder."""
        self.text_tower.set_progress(progress)

    def checkpoint_arguments(self) -> dict[str, Any]:
        """Replace the folder or name of the pretrained model by its config."""
        return {"text_model": None, "text_config": self._config}
