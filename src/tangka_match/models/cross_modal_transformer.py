"""Cross-modal Transformer over the regions and words of each pair: slow, for small galleries or distillation."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tangka_match.models.layers import check_dropout, check_heads, check_regions, check_sizes
from tangka_match.models.text_encoders import TextGRU
from tangka_match.ops import at_least_float32, l2_normalise, masked_mean
from tangka_match.types import Encoded, Lengths

BLOCK_ELEMENTS = 2**23
"""Maximum number of elements in a tensor of a block of pairs: 32 MB in float32; a layer allocates about 20."""


class CrossAttention(nn.Module):
    """Pre-norm multi-head attention from one sequence to another, with residual connection.

    Args:
        embed_dim: Dimensions of both sequences.
        num_heads: Number of attention heads; must divide ``embed_dim``.
        dropout: Dropout probability of the output.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float | int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query_norm, self.context_norm = nn.LayerNorm(embed_dim), nn.LayerNorm(embed_dim)
        self.query = nn.Linear(embed_dim, embed_dim)
        self.key = nn.Linear(embed_dim, embed_dim, bias=False)  # a bias would cancel in the softmax over the keys
        self.value = nn.Linear(embed_dim, embed_dim)
        self.out = nn.Linear(embed_dim, embed_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "N P D"], context: Float[Tensor, "N Q D"], context_mask: Bool[Tensor, "N Q"]
    ) -> Float[Tensor, "N P D"]:
        """Update ``P`` positions by attention over the real ones of the ``Q`` positions of the other sequence."""
        normed = self.context_norm(context)
        query, key, value = self.query(self.query_norm(x)), self.key(normed), self.value(normed)
        query, key, value = (part.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in (query, key, value))
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=context_mask[:, None, None, :])
        return x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """Pre-norm feed-forward block with residual connection.

    Args:
        embed_dim: Dimensions of a position; the hidden layer has twice as many units.
        dropout: Dropout probability of the output.
    """

    def __init__(self, embed_dim: int, dropout: float | int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(embed_dim),
            nn.Linear(embed_dim, 2 * embed_dim),
            nn.GELU(),
            nn.Linear(2 * embed_dim, embed_dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Float[Tensor, "N P D"]) -> Float[Tensor, "N P D"]:
        """Update each position."""
        return x + self.layers(x)


class CrossModalLayer(nn.Module):
    """Co-attention layer: words attend to regions and regions to words in parallel, then a feed-forward block each.

    Args:
        embed_dim: Dimensions of regions and words.
        num_heads: Number of attention heads.
        dropout: Dropout probability of the outputs.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float | int) -> None:
        super().__init__()
        self.to_regions = CrossAttention(embed_dim, num_heads, dropout)
        self.to_words = CrossAttention(embed_dim, num_heads, dropout)
        self.refine_words, self.refine_regions = FeedForward(embed_dim, dropout), FeedForward(embed_dim, dropout)

    def forward(
        self,
        regions: Float[Tensor, "N R D"],
        region_mask: Bool[Tensor, "N R"],
        words: Float[Tensor, "N T D"],
        token_mask: Bool[Tensor, "N T"],
    ) -> tuple[Float[Tensor, "N R D"], Float[Tensor, "N T D"]]:
        """Update the regions and words of N pairs."""
        attended_words = self.to_regions(words, regions, region_mask)
        attended_regions = self.to_words(regions, words, token_mask)
        return self.refine_regions(attended_regions), self.refine_words(attended_words)


class CrossModalTransformer(nn.Module):
    """Pre-norm co-attention layers between regions and words, run for every pair of an image and a caption.

    Co-attention as in Lu et al., "ViLBERT", arXiv 1908.02265, figure 2, with layer norm before each block (Xiong et
    al., arXiv 2002.04745). The score is the cosine of the mean word and the mean region after the last layer.

    Scoring ten thousand pairs takes minutes on a CPU: use small galleries, or distil it (``distillation=score``).
    Pairs are scored in blocks of bounded memory, and recomputed in the backward pass.

    Args:
        vocab_size: Number of words in the vocabulary, including the four special tokens.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        embed_dim: Dimensions of regions, words and the joint space; units of the GRU in each direction.
        word_dim: Dimensions of a word vector.
        num_layers: Number of cross-modal layers.
        num_heads: Number of attention heads; must divide ``embed_dim``.
        dropout: Dropout probability of projected regions, word vectors and block outputs.

    Raises:
        ConfigError: If a size is below 1, ``dropout`` is out of range, or ``num_heads`` does not divide ``embed_dim``.

    Example:
        >>> model = CrossModalTransformer(vocab_size=50, feature_dim=16, embed_dim=8, num_heads=2).eval()
        >>> images = model.encode_images(torch.rand(2, 3, 16), torch.ones(2, 3, dtype=torch.bool))
        >>> texts = model.encode_texts(torch.randint(50, (5, 7)), torch.ones(5, 7, dtype=torch.bool))
        >>> model.similarity(images, texts).shape
        torch.Size([2, 5])
    """

    tokens_only = True
    reads_lengths = True

    @check_sizes
    def __init__(
        self,
        *,
        vocab_size: int,
        feature_dim: int,
        num_regions: int = 36,
        embed_dim: int = 256,
        word_dim: int = 300,
        num_layers: int = 2,
        num_heads: int = 4,
        dropout: float | int = 0.1,
    ) -> None:
        super().__init__()
        check_dropout("CrossModalTransformer", dropout)
        check_heads("CrossModalTransformer", num_heads, "embed_dim", embed_dim)
        self.feature_dim = feature_dim
        self.region_encoder = nn.Sequential(
            nn.Linear(feature_dim, embed_dim), nn.LayerNorm(embed_dim), nn.Dropout(dropout)
        )
        self.text_encoder = TextGRU(
            vocab_size=vocab_size,
            word_dim=word_dim,
            embed_dim=embed_dim,
            num_layers=1,
            bidirectional=True,
            dropout=dropout,
            normalise=False,
        )
        self.layers = nn.ModuleList(CrossModalLayer(embed_dim, num_heads, dropout) for _ in range(num_layers))
        self.region_norm, self.word_norm = nn.LayerNorm(embed_dim), nn.LayerNorm(embed_dim)

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images as ``tokens``, one vector per region, not L2-normalised.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("CrossModalTransformer", regions, self.feature_dim)
        tokens = self.region_encoder(regions).masked_fill(~region_mask[:, :, None], 0)
        return Encoded(tokens=tokens, mask=region_mask)

    def encode_texts(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Encoded:
        """Encode captions as ``tokens``, one vector per word, not L2-normalised.

        Raises:
            ShapeError: If a caption has no real token.
        """
        return Encoded(tokens=self.text_encoder(token_ids, token_mask, lengths), mask=token_mask)

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption, (I, C), in [-1, 1] up to rounding."""
        assert images.tokens is not None and images.mask is not None
        assert texts.tokens is not None and texts.mask is not None
        length = images.tokens.shape[1] + texts.tokens.shape[1]
        captions = max(1, min(len(texts), BLOCK_ELEMENTS // (length * images.tokens.shape[2])))
        step = max(1, BLOCK_ELEMENTS // (captions * length * images.tokens.shape[2]))
        rows = []
        for start in range(0, len(images), step):
            image_block = (images.tokens[start : start + step], images.mask[start : start + step])
            text_blocks = zip(texts.tokens.split(captions), texts.mask.split(captions), strict=True)
            rows.append(torch.cat([self._score(*image_block, *block) for block in text_blocks], dim=1))
        return torch.cat(rows)

    def _score(self, *pairs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self._score_block(*pairs)
        scores: Tensor = checkpoint(self._score_block, *pairs, use_reentrant=False)
        return scores

    def _score_block(
        self,
        regions: Float[Tensor, "I R D"],
        region_mask: Bool[Tensor, "I R"],
        words: Float[Tensor, "C T D"],
        token_mask: Bool[Tensor, "C T"],
    ) -> Float[Tensor, "I C"]:
        shape = (len(regions), len(words))
        # One copy per pair: image 0 with all captions, then image 1.
        regions, region_mask = (x.repeat_interleave(shape[1], dim=0) for x in (regions, region_mask))
        words, token_mask = (x.repeat(shape[0], *(1 for _ in x.shape[1:])) for x in (words, token_mask))
        for layer in self.layers:
            regions, words = layer(regions, region_mask, words, token_mask)
        sides = ((self.region_norm(regions), region_mask), (self.word_norm(words), token_mask))
        # In half precision, different scores would tie.
        with torch.autocast(regions.device.type, enabled=False):
            image, text = (l2_normalise(masked_mean(at_least_float32(x), mask)) for x, mask in sides)
            return (image * text).sum(dim=1).unflatten(0, shape)
