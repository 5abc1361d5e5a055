"""DualEncoder matcher: one vector per image and caption, from a choice of encoders and poolings."""

from collections.abc import Sequence

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.models.layers import check_choice, check_dropout, check_heads, check_regions, check_sizes
from tangka_match.models.pooling import POOLINGS, build_pooling
from tangka_match.models.region_encoders import RegionMLP
from tangka_match.models.text_encoders import SequenceRNN, SequenceTransformer
from tangka_match.models.word_input import WordInput
from tangka_match.ops import at_least_float32, dot_products, l2_normalise
from tangka_match.types import Encoded, Lengths, WordVectors


class DualEncoder(nn.Module):
    """Dual encoder: regions and words are encoded, pooled and L2-normalised; the score is the cosine.

    ``linear`` regions with ``region_batch_norm``, ``gru`` and ``gpo`` pooling give VSE∞ (Chen et al., "Learning the
    Best Pooling Strategy for Visual Semantic Embedding", arXiv 2011.04305); ``mean`` pooling is close to VSE++ on
    regions (Faghri et al., arXiv 1707.05612).

    Args:
        vocab_size: Number of words in the vocabulary, including the four special tokens.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image; any number works.
        embed_dim: Dimensions of the joint space and of both encoders.
        region_encoder: ``"linear"`` (linear layer plus two-layer perceptron) or ``"transformer"``.
        region_layers: Number of layers of the region Transformer.
        region_batch_norm: Whether the perceptron of ``"linear"`` contains batch norm, as published. In training, its
            statistics cover the real regions of the images that are encoded together, of all processes: a batch, or
            a chunk with ``training.chunk_size``, whose running statistics are then updated twice.
        image_pooling: ``"mean"``, ``"max"``, ``"k_max"`` or ``"gpo"``.
        text_encoder: ``"gru"`` or ``"lstm"`` (bidirectional, directions averaged) or ``"transformer"``.
        text_layers: Number of layers of the text encoder.
        text_pooling: Same choices as ``image_pooling``.
        pooling_k: Number of values that ``"k_max"`` averages.
        num_heads: Number of attention heads of a Transformer; must divide ``embed_dim``.
        word_dim: Dimensions of a word vector.
        character_dim: Dimensions of the character vectors; 0 = words only.
        num_characters: Number of characters with a vector of their own; rarer ones share one.
        dropout: Dropout probability of word vectors, perceptron and Transformer.

    Raises:
        ConfigError: If a size is too small, a name is unknown, ``dropout`` is out of range, or ``num_heads`` does not
            divide ``embed_dim`` of a Transformer.

    Example:
        >>> import torch
        >>> model = DualEncoder(vocab_size=50, feature_dim=16, embed_dim=8, image_pooling="max").eval()
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
        region_encoder: str = "linear",
        region_layers: int = 1,
        region_batch_norm: bool = False,
        image_pooling: str = "gpo",
        text_encoder: str = "gru",
        text_layers: int = 1,
        text_pooling: str = "gpo",
        pooling_k: int = 5,
        num_heads: int = 8,
        word_dim: int = 300,
        character_dim: int = 0,
        num_characters: int = 4096,
        dropout: float | int = 0.2,
    ) -> None:
        super().__init__()
        check_dropout("DualEncoder", dropout)
        check_choice("DualEncoder", "image_pooling", image_pooling, POOLINGS)
        check_choice("DualEncoder", "text_pooling", text_pooling, POOLINGS)
        self.feature_dim = feature_dim
        check_choice("DualEncoder", "region_encoder", region_encoder, ("linear", "transformer"))
        self.region_encoder = (
            RegionMLP(feature_dim, embed_dim, dropout, batch_norm=region_batch_norm)
            if region_encoder == "linear"
            else _transformer(
                feature_dim,
                embed_dim,
                num_heads=num_heads,
                num_layers=region_layers,
                dropout=dropout,
                positions=False,
            )
        )
        self.image_pooling = build_pooling(image_pooling, pooling_k)
        self.word_input = WordInput(
            vocab_size,
            word_dim=word_dim,
            character_dim=character_dim,
            num_characters=num_characters,
            dropout=dropout,
        )
        word_size = self.word_input.output_dim
        self.text_encoder = _text_encoder(
            text_encoder, word_size, embed_dim, num_heads=num_heads, num_layers=text_layers, dropout=dropout
        )
        self.text_pooling = build_pooling(text_pooling, pooling_k)

    def learn_words(self, words: Sequence[str], pretrained: WordVectors | None) -> None:
        """Set characters and pretrained vectors of the words; see `WordInput.learn_words`."""
        self.word_input.learn_words(words, pretrained)

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images as L2-normalised vectors, ``pooled``.

        Raises:
            ShapeError: If the features do not have ``feature_dim`` dimensions.
        """
        check_regions("DualEncoder", regions, self.feature_dim)
        pooled = self.image_pooling(self.region_encoder(regions, region_mask), region_mask)
        return Encoded(pooled=l2_normalise(at_least_float32(pooled)))

    def encode_texts(
        self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"], lengths: Lengths | None = None
    ) -> Encoded:
        """Encode captions as L2-normalised vectors, ``pooled``.

        Raises:
            ShapeError: If the encoder is recurrent and a caption has no real token.
        """
        states = self.text_encoder(self.word_input(token_ids), token_mask, lengths)
        return Encoded(pooled=l2_normalise(at_least_float32(self.text_pooling(states, token_mask))))

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Return the cosine of every image with every caption, (I, C)."""
        assert images.pooled is not None and texts.pooled is not None
        return dot_products(images.pooled, texts.pooled)


def _text_encoder(
    name: str, input_dim: int, dim: int, *, num_heads: int, num_layers: int, dropout: float | int
) -> nn.Module:
    check_choice("DualEncoder", "text_encoder", name, ("gru", "lstm", "transformer"))
    if name == "transformer":
        return _transformer(input_dim, dim, num_heads=num_heads, num_layers=num_layers, dropout=dropout, positions=True)
    return SequenceRNN(nn.GRU if name == "gru" else nn.LSTM, input_dim, dim, num_layers)


def _transformer(
    input_dim: int, dim: int, *, num_heads: int, num_layers: int, dropout: float | int, positions: bool
) -> SequenceTransformer:
    check_heads("DualEncoder", num_heads, "embed_dim", dim)
    return SequenceTransformer(
        input_dim, dim, num_heads=num_heads, num_layers=num_layers, dropout=dropout, positions=positions
    )
