"""Shared tensor containers, the axis legend, and the ``Matcher`` protocol."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

LONGEST_WORD = 8
"""Characters that a word counts with."""


def is_special(word: str) -> bool:
    """Whether a word of a vocabulary stands in angle brackets, as ``<pad>`` and ``<unk>`` do.

    >>> is_special("<unk>"), is_special("莲花")
    (True, False)
    """
    return word.startswith("<") and word.endswith(">")


def characters_of(word: str) -> str:
    """Return the characters that a word counts with: its first `LONGEST_WORD`; a special token has none.

    >>> characters_of("<unk>"), characters_of("十一面千手千眼观音")
    ('', '十一面千手千眼观')
    """
    return "" if is_special(word) else word[:LONGEST_WORD]


class RegionTextBatch(NamedTuple):
    """Matching pairs: row ``b`` of the images belongs to row ``b`` of the captions.

    The three index fields tell which rows are positives of each other beside the diagonal: two rows with the same
    ``image_index`` show the same picture, two rows with the same ``text_group`` have the same caption text.
    """

    regions: Float[Tensor, "B R F"]
    region_mask: Bool[Tensor, "B R"]
    token_ids: Int[Tensor, "B T"]
    token_mask: Bool[Tensor, "B T"]
    image_index: Int[Tensor, " B"]
    caption_index: Int[Tensor, " B"]
    text_group: Int[Tensor, " B"]


class ImageBatch(NamedTuple):
    """Images alone, as evaluation reads them."""

    regions: Float[Tensor, "B R F"]
    region_mask: Bool[Tensor, "B R"]
    image_index: Int[Tensor, " B"]


class CaptionBatch(NamedTuple):
    """Captions alone, as evaluation reads them."""

    token_ids: Int[Tensor, "B T"]
    token_mask: Bool[Tensor, "B T"]
    caption_index: Int[Tensor, " B"]


@dataclass(frozen=True)
class Encoded:
    """Encoded images or captions: a vector an item, a sequence of vectors an item, or both.

    Args:
        pooled: One vector an item, (N, D), or ``None`` where a matcher compares sequences only.
        tokens: One vector a region or word, (N, L, D), or ``None`` where a matcher compares pooled vectors only.
        mask: (N, L), ``True`` where ``tokens`` is real; given exactly when ``tokens`` is.

    Whether the vectors are L2-normalised is the business of the matcher that made them; each ``Matcher`` says so.
    """

    pooled: Float[Tensor, "N D"] | None = None
    tokens: Float[Tensor, "N L D"] | None = None
    mask: Bool[Tensor, "N L"] | None = None

    def __post_init__(self) -> None:
        assert self.pooled is not None or self.tokens is not None, "an Encoded holds vectors or sequences"
        assert (self.tokens is None) == (self.mask is None), "tokens and mask come together"

    def __len__(self) -> int:
        return len(self.pooled) if self.pooled is not None else len(self.tokens)  # type: ignore[arg-type]

    def __getitem__(self, index: slice | Tensor) -> "Encoded":
        """Choose items by a slice or an index tensor."""
        return Encoded(*(None if part is None else part[index] for part in (self.pooled, self.tokens, self.mask)))

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Encoded":
        """Move to a device, and cast the floating-point parts to a dtype."""
        return Encoded(
            None if self.pooled is None else self.pooled.to(device=device, dtype=dtype),
            None if self.tokens is None else self.tokens.to(device=device, dtype=dtype),
            None if self.mask is None else self.mask.to(device=device),
        )

    @staticmethod
    def concatenate(parts: Sequence["Encoded"]) -> "Encoded":
        """Join along the item axis; sequences are padded to the longest of the parts.

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
        return Encoded(pooled=pooled, tokens=tokens, mask=mask)


class WordAttention(NamedTuple):
    """Where words look.

    Attributes:
        weights: (I, C, T, R) how much each word looks at each region; they add up to one over an image's real regions.
        note: What these weights are in the model, and how much of the score goes through them; for people.
    """

    weights: Float[Tensor, "I C T R"]
    note: str


@runtime_checkable
class Attentive(Protocol):
    """A matcher that can show where its words look; not all can."""

    def word_attention(self, images: Encoded, texts: Encoded) -> WordAttention:
        """Weights of every word over the regions of every image; those of padding words mean nothing."""
        ...


@runtime_checkable
class Matcher(Protocol):
    """What every image–text model offers, so that training, evaluation and search need to know no more.

    ``similarity`` must not depend on which other images or captions are in the call, on padding, or on order: a chunk
    of the matrix is the same numbers as the whole.
    """

    def encode_images(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Encoded:
        """Encode images; rows of ``regions`` where the mask is ``False`` have no influence."""
        ...

    def encode_texts(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Encoded:
        """Encode captions; ids where the mask is ``False`` have no influence."""
        ...

    def similarity(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Scores of every image against every caption; higher = closer."""
        ...


@runtime_checkable
class TokenMatcher(Protocol):
    """A matcher that says of itself that it has no pooled vectors: it compares regions with words alone."""

    tokens_only: bool


@runtime_checkable
class WholePictureMatcher(Protocol):
    """A matcher that says of itself that the first region of an image is the whole picture, which makes up its score.

    Augmentation leaves that region alone: exchanged for another picture's, the pair would be a wrong one.
    """

    whole_picture_first: bool


RegionBatches = Callable[[], Iterable[tuple[Float[Tensor, "B R F"], Bool[Tensor, "B R"]]]]
"""Gives the training images, regions and mask, from the first to the last, each time it is called."""


class PairedCaptions(NamedTuple):
    """All training captions, the row of the image that each describes, and the V words of the vocabulary by id.

    ``weights`` say how much each pair counts, with a mean of 1; ``None`` where all count the same.
    """

    token_ids: Int[Tensor, "C T"]
    token_mask: Bool[Tensor, "C T"]
    caption_to_image: Int[Tensor, " C"]
    words: tuple[str, ...]
    weights: Float[Tensor, " C"] | None = None


@runtime_checkable
class FittedMatcher(Protocol):
    """A matcher that is set from the training pairs as a whole before the first gradient step."""

    def fit(self, images: RegionBatches, captions: PairedCaptions) -> dict[str, float]:
        """Set weights and buffers from the training pairs; returns what was chosen on the way, by name."""
        ...


class WordVectors(NamedTuple):
    """Pretrained vectors of the words of a vocabulary, by id.

    Attributes:
        vectors: (V, E) float32; zeros where nothing is known.
        known: (V,) whether a word has a vector, its own or the mean of its characters'.
    """

    vectors: Float[Tensor, "V E"]
    known: Bool[Tensor, " V"]


@runtime_checkable
class WordAware(Protocol):
    """A matcher that looks at the words behind the ids, before the first gradient step."""

    def learn_words(self, words: Sequence[str], pretrained: WordVectors | None) -> None:
        """Take what is needed of the V words of the vocabulary by id, and their vectors, if there are any."""
        ...


@runtime_checkable
class PretrainedMatcher(Protocol):
    """A matcher with a part that was trained elsewhere, and learns more slowly or later than the rest."""

    def lr_multipliers(self) -> Mapping[str, float | int]:
        """Learning rates as multiples of the optimizer's, by how the names of the parameters begin."""
        ...

    def set_progress(self, progress: float) -> None:
        """Be told before each training step what share of the run is over, in [0, 1]."""
        ...

    def checkpoint_arguments(self) -> dict[str, Any]:
        """Arguments that a checkpoint holds in place of those of the config, to be built again without other files."""
        ...
