"""Tensor containers, protocols of matchers, and the axis legend.

Axes: B pairs of a batch, I images, C captions, R regions, T tokens, F features of a region, D joint space, V words of
the vocabulary, E components of a word vector, N images or captions, L regions or words.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Lengths = tuple[int, ...]
"""Number of real tokens per caption, as numbers of the host; the real tokens come first.

The host needs them to group captions and to step over words; reading them from a GPU waits for all work queued there.
"""

LONGEST_WORD = 8
"""Number of characters of a word that character features use."""


def is_special(word: str) -> bool:
    """Check whether a word of a vocabulary is a special token: in angle brackets, such as ``<pad>``.

    >>> is_special("<unk>"), is_special("莲花")
    (True, False)
    """
    return word.startswith("<") and word.endswith(">")


def characters_of(word: str) -> str:
    """Return the first `LONGEST_WORD` characters of a word or word piece; a special token has none.

    The marks of parts of words do not count: ``##`` (WordPiece), ``▁`` (SentencePiece), ``@@`` (characters of unknown
    words, see ``Vocabulary``).

    >>> characters_of("<unk>"), characters_of("十一面千手千眼观音"), characters_of("##母"), characters_of("▁度母")
    ('', '十一面千手千眼观', '母', '度母')
    """
    return "" if is_special(word) else word.removeprefix("##").removeprefix("▁").removesuffix("@@")[:LONGEST_WORD]


class RegionTextBatch(NamedTuple):
    """Matching pairs: row ``b`` of the images belongs to row ``b`` of the captions.

    The indices define positives off the diagonal: rows with the same ``image_index`` share an image, rows with the same
    ``text_group`` share a caption text. ``lengths`` repeats ``token_mask`` for the host; ``None`` = not known there.
    """

    regions: Float[Tensor, "B R F"]
    region_mask: Bool[Tensor, "B R"]
    token_ids: Int[Tensor, "B T"]
    token_mask: Bool[Tensor, "B T"]
    image_index: Int[Tensor, " B"]
    caption_index: Int[Tensor, " B"]
    text_group: Int[Tensor, " B"]
    lengths: Lengths | None = None


class ImageBatch(NamedTuple):
    """Images, for evaluation."""

    regions: Float[Tensor, "B R F"]
    region_mask: Bool[Tensor, "B R"]
    image_index: Int[Tensor, " B"]


class CaptionBatch(NamedTuple):
    """Captions, for evaluation."""

    token_ids: Int[Tensor, "B T"]
    token_mask: Bool[Tensor, "B T"]
    caption_index: Int[Tensor, " B"]


@dataclass(frozen=True)
class Encoded:
    """Encoded images or captions: pooled vectors, sequences of vectors, or both.

    Args:
        pooled: One vector per item, (N, D); ``None`` if the matcher compares sequences only.
        tokens: One vector per region or word, (N, L, D); ``None`` if the matcher compares pooled vectors only.
        mask: ``True`` where ``tokens`` is real, (N, L); given if and only if ``tokens`` is.
        lengths: Number of real positions per item, if the host knows it and they come first; repeats ``mask``.

    The docstring of each matcher says whether its vectors are L2-normalised.
    """

    pooled: Float[Tensor, "N D"] | None = None
    tokens: Float[Tensor, "N L D"] | None = None
    mask: Bool[Tensor, "N L"] | None = None
    lengths: Lengths | None = None

    def __post_init__(self) -> None:
        assert self.pooled is not None or self.tokens is not None, "Encoded needs pooled or tokens"
        assert (self.tokens is None) == (self.mask is None), "Encoded needs both tokens and mask, or neither"

    def __len__(self) -> int:
        return len(self.pooled) if self.pooled is not None else len(self.tokens)  # type: ignore[arg-type]

    def __getitem__(self, index: slice | Tensor) -> "Encoded":
        """Select items by a slice or an index tensor; an index tensor loses ``lengths``."""
        parts = (self.pooled, self.tokens, self.mask)
        pooled, tokens, mask = (None if part is None else part[index] for part in parts)
        lengths = self.lengths[index] if self.lengths is not None and isinstance(index, slice) else None
        return Encoded(pooled, tokens, mask, lengths)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Encoded":
        """Move to a device, and cast the vectors to a dtype."""
        return Encoded(
            None if self.pooled is None else self.pooled.to(device=device, dtype=dtype),
            None if self.tokens is None else self.tokens.to(device=device, dtype=dtype),
            None if self.mask is None else self.mask.to(device=device),
            self.lengths,
        )

    @staticmethod
    def concatenate(parts: Sequence["Encoded"]) -> "Encoded":
        """Concatenate along the item axis; sequences are padded to the longest one.

        >>> a = Encoded(tokens=torch.ones(1, 2, 3), mask=torch.ones(1, 2, dtype=torch.bool))
        >>> b = Encoded(tokens=torch.ones(2, 4, 3), mask=torch.ones(2, 4, dtype=torch.bool))
        >>> joined = Encoded.concatenate([a, b])
        >>> joined.tokens.shape, joined.mask.sum(1).tolist()
        (torch.Size([3, 4, 3]), [2, 4, 4])
        """
        pooled = None if parts[0].pooled is None else torch.cat([p.pooled for p in parts])  # type: ignore[misc]
        if parts[0].tokens is None:
            return Encoded(pooled=pooled)
        longest = max(p.tokens.shape[1] for p in parts)  # type: ignore[union-attr]
        pad = torch.nn.functional.pad
        tokens = torch.cat([pad(p.tokens, (0, 0, 0, longest - p.tokens.shape[1])) for p in parts])  # type: ignore
        mask = torch.cat([pad(p.mask, (0, longest - p.mask.shape[1])) for p in parts])  # type: ignore
        known = [p.lengths for p in parts if p.lengths is not None]
        lengths = tuple(chain.from_iterable(known)) if len(known) == len(parts) else None
        return Encoded(pooled=pooled, tokens=tokens, mask=mask, lengths=lengths)


class WordAttention(NamedTuple):
    """Word-to-region attention weights.

    Attributes:
        weights: Weights, (I, C, T, R), that sum to one over the real regions of an image; undefined for padding words.
        note: Role of these weights in the model and their share of the score, as text for a reader.
    """

    weights: Float[Tensor, "I C T R"]
    note: str


@runtime_checkable
class Attentive(Protocol):
    """Matcher that provides word-to-region attention weights."""

    def word_attention(self, images: Encoded, texts: Encoded) -> WordAttention:
        """Compute the attention weights of every word over the regions of every image."""
        ...


@runtime_checkable
class Matcher(Protocol):
    """Image-text matching model, as training, evaluation and search use it.

    A score must not depend on other images or captions of the call, on padding, or on order: a chunk of the matrix
    equals the same part of the whole.
    """

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images; masked regions have no influence."""
        ...

    def encode_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Encoded:
        """Encode captions; masked tokens have no influence."""
        ...

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption; higher = closer."""
        ...


@runtime_checkable
class LengthReader(Protocol):
    """Matcher whose ``encode_texts`` takes the lengths of the captions as a third argument, ``lengths=None``.

    Without them it would ask the device for them, which makes the host wait. ``reads_lengths`` may be set to ``False``.
    """

    reads_lengths: bool


@runtime_checkable
class TokenMatcher(Protocol):
    """Matcher that declares to have no pooled vectors: it compares regions with words only."""

    tokens_only: bool


@runtime_checkable
class AuxiliaryPooling(Protocol):
    """Matcher that declares that its scores do not compare its pooled vectors of images and captions."""

    pooled_is_auxiliary: bool


@runtime_checkable
class CorrectedMatcher(Protocol):
    """Matcher whose pooled vectors end with ``correction_dims`` components that correct scores, 0 or more.

    They belong to the score of an image with a caption, and say nothing about the likeness of two images.
    """

    correction_dims: int


@runtime_checkable
class WholePictureMatcher(Protocol):
    """Matcher that declares the first region of an image to be the whole picture.

    Augmentation does not replace that region, because it determines which caption is right.
    """

    whole_picture_first: bool


RegionBatches = Callable[[], Iterable[tuple[Float[Tensor, "B R F"], Bool[Tensor, "B R"]]]]
"""Function that iterates over the regions and masks of the training images, from the start on each call."""


class PairedCaptions(NamedTuple):
    """Training captions with their images.

    Attributes:
        token_ids: Token ids of all captions.
        token_mask: ``True`` where a token is real.
        caption_to_image: Row of each caption's image.
        words: Words of the vocabulary by id.
        weights: Weight of each pair, with a mean of 1; ``None`` = 1 each.
    """

    token_ids: Int[Tensor, "C T"]
    token_mask: Bool[Tensor, "C T"]
    caption_to_image: Int[Tensor, " C"]
    words: tuple[str, ...]
    weights: Float[Tensor, " C"] | None = None


@runtime_checkable
class FittedMatcher(Protocol):
    """Matcher that is fitted to all training pairs before the first gradient step."""

    def fit(self, images: RegionBatches, captions: PairedCaptions) -> dict[str, float]:
        """Fit weights and buffers to the training pairs; return the chosen hyper-parameters by name."""
        ...


class WordVectors(NamedTuple):
    """Pretrained vectors of the words of a vocabulary, by id.

    Attributes:
        vectors: Vectors, (V, E), float32; zeros for unknown words.
        known: ``True`` where a word has a vector, its own or the mean of its characters', (V,).
    """

    vectors: Float[Tensor, "V E"]
    known: Bool[Tensor, " V"]


@runtime_checkable
class WordAware(Protocol):
    """Matcher that needs the words of the vocabulary before the first gradient step."""

    def learn_words(self, words: Sequence[str], pretrained: WordVectors | None) -> None:
        """Read the words of the vocabulary by id, and their pretrained vectors, if any."""
        ...


@runtime_checkable
class PretrainedMatcher(Protocol):
    """Matcher with a pretrained part that has a separate learning rate, or is frozen at first."""

    def lr_multipliers(self) -> Mapping[str, float | int]:
        """Return learning rates as multiples of the optimizer's, by prefix of the parameter name."""
        ...

    def set_progress(self, progress: float) -> None:
        """Set the completed share of the run, in [0, 1]; called before each training step."""
        ...

    def checkpoint_arguments(self) -> dict[str, Any]:
        """Return arguments that replace those of the config in a checkpoint, so that loading needs no other files."""
        ...
