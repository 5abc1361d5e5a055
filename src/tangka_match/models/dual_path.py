"""DualPath, the over-parameterised matcher of the ``super_optimized`` experiment."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.layers import check_dropout, check_heads, check_regions, check_sizes
from tangka_match.models.pooling import AttentionPooling
from tangka_match.models.text_encoders import TextLSTM
from tangka_match.ops import at_least_float32, dot_products, l2_normalise, masked_mean
from tangka_match.types import Encoded, Lengths


class DeepPath(nn.Module):
    """Three-layer perceptron on the mean of a sequence.

    Args:
        input_dim: Dimensions of the mean.
        hidden_dim: Units of the two hidden layers.
        output_dim: Dimensions of the joint space.
        dropout: Dropout probability of the hidden units.
    """

    def __init__(self, input_dim: int, hidden_dim: int, output_dim: int, dropout: float | int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(input_dim),
            nn.Linear(input_dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, output_dim),
            nn.LayerNorm(output_dim),
        )

    def forward(self, mean: Float[Tensor, "N P"]) -> Float[Tensor, "N D"]:
        """Map vectors of ``P`` = ``input_dim`` components to the joint space, without L2 normalisation."""
        return self.layers(mean)


class GatedFusion(nn.Module):
    """Gated sum of two vectors, with one gate per dimension that depends on both.

    Args:
        dim: Dimensions of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dim, dim)

    def forward(self, local: Float[Tensor, "N D"], overall: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Fuse, and L2-normalise in at least float32."""
        gate = self.gate(torch.cat([local, overall], dim=1)).sigmoid()
        return l2_normalise(at_least_float32(gate * local + (1 - gate) * overall))


class DualPath(nn.Module):
    """Dual encoder with a local and a global path for images and captions, fused by a gate.

    Local path: a Transformer encoder over regions (Vaswani et al., arXiv 1706.03762) or a BiLSTM over words, then
    attention pooling. Global path: a perceptron on the mean region or word vector. With 1,562 words and 2,048 features
    there are 48,020,176 parameters, so that it overfits on a few thousand pairs; it is kept as an example of this.
    Prefer ``VSE``.

    Args:
        vocab_size: Number of words in the vocabulary, including the four special tokens.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        embed_dim: Dimensions of the joint space.
        word_dim: Dimensions of a word vector.
        lstm_dim: Units of the LSTM in each direction.
        region_dim: Dimensions of the Transformer over regions.
        num_heads: Number of attention heads; must divide ``region_dim``.
        num_layers: Number of Transformer layers.
        hidden_dim: Hidden units of the global paths.
        dropout: Dropout probability.

    Raises:
        ConfigError: If a size is below 1, ``dropout`` is out of range, or ``num_heads`` does not divide ``region_dim``.

    Example:
        >>> model = DualPath(vocab_size=50, feature_dim=16, embed_dim=8, lstm_dim=4, region_dim=8, hidden_dim=8).eval()
        >>> images = model.encode_images(torch.rand(2, 3, 16), torch.ones(2, 3, dtype=torch.bool))
        >>> texts = model.encode_texts(torch.randint(50, (5, 7)), torch.ones(5, 7, dtype=torch.bool))
        >>> model.similarity(images, texts).shape
        torch.Size([2, 5])
    """

    reads_lengths = True

    @check_sizes
    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        embed_dim: int = 1024,
        word_dim: int = 300,
        lstm_dim: int = 512,
        region_dim: int = 512,
        num_heads: int = 8,
        num_layers: int = 2,
        hidden_dim: int = 3072,
        dropout: float | int = 0.1,
    ) -> None:
        super().__init__()
        check_dropout("DualPath", dropout)
        check_heads("DualPath", num_heads, "region_dim", region_dim)
        self.feature_dim = feature_dim
        self.region_projection = nn.Sequential(nn.Linear(feature_dim, region_dim), nn.LayerNorm(region_dim))
        layer = nn.TransformerEncoderLayer(
            region_dim, num_heads, 2 * region_dim, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.region_transformer = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.image_pooling = AttentionPooling(region_dim, region_dim)
        self.image_local = nn.Linear(region_dim, embed_dim)
        self.image_global = DeepPath(feature_dim, hidden_dim, embed_dim, dropout)
        self.image_fusion = GatedFusion(embed_dim)
        self.text_lstm = TextLSTM(vocab_size, word_dim, lstm_dim, dropout)
        self.text_pooling = AttentionPooling(2 * lstm_dim, region_dim)
        self.text_local = nn.Linear(2 * lstm_dim, embed_dim)
        self.text_global = DeepPath(word_dim, hidden_dim, embed_dim, dropout)
        self.text_fusion = GatedFusion(embed_dim)

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images as L2-normalised vectors, ``pooled``.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("DualPath", regions, self.feature_dim)
        states = self.region_transformer(self.region_projection(regions), src_key_padding_mask=~region_mask)
        local = self.image_local(self.image_pooling(states, region_mask))
        return Encoded(pooled=self.image_fusion(local, self.image_global(masked_mean(regions, region_mask))))

    def encode_texts(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Encoded:
        """Encode captions as L2-normalised vectors, ``pooled``.

        Raises:
            ShapeError: If a caption has no real token.
        """
        local = self.text_local(self.text_pooling(self.text_lstm(token_ids, token_mask, lengths), token_mask))
        overall = self.text_global(masked_mean(self.text_lstm.embed(token_ids), token_mask))
        return Encoded(pooled=self.text_fusion(local, overall))

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Return the cosine of every image with every caption, (I, C)."""
        assert images.pooled is not None and texts.pooled is not None
        return dot_products(images.pooled, texts.pooled)
