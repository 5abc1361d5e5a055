"""VSE, the matcher of the ``targeted`` experiment: pooled vectors and one cross-modal attention layer."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.models.layers import check_dropout, check_regions, check_sizes
from tangka_match.models.pooling import AttentionPooling, PooledHead
from tangka_match.models.text_encoders import TextLSTM
from tangka_match.ops import attended_cosine, dot_products, l2_normalise, masked_softmax, real_positions, unpack_words
from tangka_match.types import Encoded, Lengths, WordAttention


class CrossModalAttention(nn.Module):
    """Mean cosine between words and the contexts that they attend to in an image.

    Regions and words are projected once per image and caption; pairs only need dot products between them (see
    ``ops.attended_cosine``).

    Args:
        region_dim: Dimensions of a region vector.
        word_dim: Dimensions of a word vector.
        attention_dim: Dimensions of queries, keys and values.
        smooth: Factor of the cosines before the softmax; higher = sharper.
    """

    def __init__(self, region_dim: int, word_dim: int, attention_dim: int, smooth: float | int) -> None:
        super().__init__()
        self.region_projection = nn.Linear(region_dim, 2 * attention_dim)
        self.word_projection = nn.Linear(word_dim, 2 * attention_dim)
        self.smooth = float(smooth)

    def project_regions(self, regions: Float[Tensor, "I R P"]) -> Float[Tensor, "I R A2"]:
        """Compute L2-normalised keys and values of regions, concatenated: ``A2`` = 2 x ``attention_dim``."""
        return _unit_halves(self.region_projection(regions))

    def project_words(self, words: Float[Tensor, "C T P"]) -> Float[Tensor, "C T A2"]:
        """Compute L2-normalised queries and values of words, concatenated: ``A2`` = 2 x ``attention_dim``."""
        return _unit_halves(self.word_projection(words))

    def forward(
        self,
        regions: Float[Tensor, "I R A2"],
        region_mask: Bool[Tensor, "I R"],
        words: Float[Tensor, "C T A2"],
        token_mask: Bool[Tensor, "C T"],
        lengths: Lengths | None = None,
    ) -> Float[Tensor, "I C"]:
        """Average the cosines between the real words and their contexts, for every image and caption.

        Args:
            regions: Output of ``project_regions``.
            region_mask: ``True`` where a region is real.
            words: Output of ``project_words``.
            token_mask: ``True`` where a word is real.
            lengths: Number of real words per caption; ``None`` asks the device of the mask.
        """
        keys, region_values = regions.chunk(2, dim=2)
        positions = real_positions(token_mask, lengths)
        queries, word_values = words.flatten(0, 1).index_select(0, positions).chunk(2, dim=1)
        cosines = attended_cosine(queries, word_values, keys, region_values, region_mask, smooth=self.smooth)
        return unpack_words(cosines, positions, token_mask.shape).sum(dim=2) / token_mask.sum(dim=1)

    def weights(
        self,
        regions: Float[Tensor, "I R A2"],
        region_mask: Bool[Tensor, "I R"],
        words: Float[Tensor, "C T A2"],
    ) -> Float[Tensor, "I C T R"]:
        """Compute the word-to-region attention weights that ``forward`` uses, for display.

        Args:
            regions: Output of ``project_regions``.
            region_mask: ``True`` where a region is real.
            words: Output of ``project_words``.
        """
        keys, queries = regions.chunk(2, dim=2)[0], words.chunk(2, dim=2)[0]
        affinity = torch.einsum("ira,cta->ictr", keys, queries)
        return masked_softmax(self.smooth * affinity, region_mask[:, None, None, :])


def _unit_halves(x: Float[Tensor, "N L A2"]) -> Float[Tensor, "N L A2"]:
    return torch.cat([l2_normalise(half) for half in x.chunk(2, dim=2)], dim=2)


class VSE(nn.Module):
    r"""Visual-semantic embedding with attention pooling and one cross-modal attention layer.

    ::

        regions ─ linear ─ layer norm ─┬─ attention pooling ─ head ─► image vector   (I, D)
                                       └─ keys and values ──────────► region tokens  (I, R, 2A)
        words ─ embedding ─ BiLSTM ────┬─ word attention ──── head ─► caption vector (C, D)
                                       └─ queries and values ───────► word tokens    (C, T, 2A)

    The score of a pair is :math:`(1 - w) g + w l`: the cosine :math:`g` of image and caption vector, the mean cosine
    :math:`l` between a word and its context in the image, and a learnt share :math:`0 < w < 1`. The joint space
    follows Faghri et al., "VSE++", arXiv 1707.05612, and the local score Lee et al., "Stacked Cross Attention for
    Image-Text Matching", arXiv 1803.08024. With 1,562 words and 2,048 features there are 28,465,785 parameters.

    Args:
        vocab_size: Number of words in the vocabulary, including the four special tokens.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        embed_dim: Dimensions of the projected regions and of the joint space.
        word_dim: Dimensions of a word vector.
        lstm_dim: Units of the LSTM in each direction.
        head_dim: Hidden units of the heads on the pooled vectors.
        pooling_dim: Hidden units of the attention pooling.
        attention_dim: Dimensions of queries, keys and values.
        smooth: Factor of the cosines in the cross-modal attention; higher = sharper.
        local_share: Initial share ``w`` of the local score, in (0, 1).
        dropout: Dropout probability of projected regions, word vectors, LSTM outputs and heads.

    Raises:
        ConfigError: If a size is below 1, or ``smooth``, ``local_share`` or ``dropout`` is out of range.

    Example:
        >>> model = VSE(vocab_size=50, feature_dim=16, num_regions=3, embed_dim=8, lstm_dim=4, head_dim=8).eval()
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
        head_dim: int = 5120,
        pooling_dim: int = 256,
        attention_dim: int = 256,
        smooth: float | int = 9.0,
        local_share: float = 0.3,
        dropout: float | int = 0.2,
    ) -> None:
        super().__init__()
        check_dropout("VSE", dropout)
        if not smooth > 0:
            raise ConfigError(f"VSE: smooth is {smooth!r}; it must be above 0 (9 is usual)")
        if not 0 < local_share < 1:
            raise ConfigError(f"VSE: local_share is {local_share!r}; it must be above 0 and below 1")
        self.feature_dim = feature_dim
        self.region_encoder = nn.Sequential(
            nn.Linear(feature_dim, embed_dim), nn.LayerNorm(embed_dim), nn.Dropout(dropout)
        )
        self.image_pooling = AttentionPooling(embed_dim, pooling_dim)
        self.image_head = PooledHead(embed_dim, head_dim, embed_dim, dropout)
        self.text_encoder = TextLSTM(vocab_size, word_dim, lstm_dim, dropout)
        self.text_pooling = AttentionPooling(2 * lstm_dim, pooling_dim)
        self.text_head = PooledHead(2 * lstm_dim, head_dim, embed_dim, dropout)
        self.cross_attention = CrossModalAttention(embed_dim, 2 * lstm_dim, attention_dim, smooth)
        self.local_logit = nn.Parameter(torch.tensor(math.log(local_share / (1 - local_share))))

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images.

        Returns:
            ``pooled``: L2-normalised image vectors. ``tokens``: L2-normalised keys and values of regions, concatenated.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("VSE", regions, self.feature_dim)
        projected = self.region_encoder(regions)
        pooled = self.image_head(self.image_pooling(projected, region_mask))
        tokens = self.cross_attention.project_regions(projected).masked_fill(~region_mask[:, :, None], 0)
        return Encoded(pooled=pooled, tokens=tokens, mask=region_mask)

    def encode_texts(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Encoded:
        """Encode captions.

        Returns:
            ``pooled``: L2-normalised caption vectors. ``tokens``: L2-normalised queries and values of words,
            concatenated.

        Raises:
            ShapeError: If a caption has no real token.
        """
        words = self.text_encoder(token_ids, token_mask, lengths)
        pooled = self.text_head(self.text_pooling(words, token_mask))
        tokens = self.cross_attention.project_words(words).masked_fill(~token_mask[:, :, None], 0)
        return Encoded(pooled=pooled, tokens=tokens, mask=token_mask, lengths=lengths)

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption, (I, C), in [-1, 1] up to rounding."""
        assert images.pooled is not None and images.tokens is not None and images.mask is not None
        assert texts.pooled is not None and texts.tokens is not None and texts.mask is not None
        overall = dot_products(images.pooled, texts.pooled)
        local = self.cross_attention(images.tokens, images.mask, texts.tokens, texts.mask, texts.lengths)
        share = self.local_logit.sigmoid()
        return (1 - share) * overall + share * local

    def word_attention(self, images: Encoded, texts: Encoded) -> WordAttention:
        """Return the weights of the cross-modal attention."""
        assert images.tokens is not None and images.mask is not None and texts.tokens is not None
        share = 100 * self.local_logit.sigmoid().item()
        note = (
            f"cross-modal attention of VSE, whose share of a score is {share:.0f} %; the rest is the cosine of pooled "
            "image and caption vectors"
        )
        return WordAttention(self.cross_attention.weights(images.tokens, images.mask, texts.tokens), note)
