"""What a mini-batch holds beside its scores, and the losses that look at it."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.losses.base import LossTerms, MatchingLoss, working_precision
from tangka_match.ops import l2_normalise
from tangka_match.types import Encoded, TokenMatcher


class MomentumKeys(NamedTuple):
    """The batch as a slowly following copy of the matcher encodes it, without gradients, and where it comes from.

    Attributes:
        images: The batch's images.
        texts: Its captions.
        image_index: The image of every row, the same number in every batch of the run.
        text_group: The caption text of every row, likewise.
    """

    images: Encoded
    texts: Encoded
    image_index: Int[Tensor, " B"]
    text_group: Int[Tensor, " B"]


class PairContext(NamedTuple):
    """A mini-batch of B pairs behind its scores.

    Attributes:
        images: Encoded images, with gradients.
        texts: Encoded captions, with gradients.
        token_ids: The captions' words, before augmentation.
        token_mask: ``True`` where a word is real.
        keys: The same pairs from the momentum copy; ``None`` in validation, and where no loss asks for one.
    """

    images: Encoded
    texts: Encoded
    token_ids: Int[Tensor, "B T"]
    token_mask: Bool[Tensor, "B T"]
    keys: MomentumKeys | None = None

    def choose(self, rows: Int[Tensor, " N"], captions: Int[Tensor, " N"]) -> "PairContext":
        """Pair some images with as many captions, by index; without keys."""
        return PairContext(self.images[rows], self.texts[captions], self.token_ids[captions], self.token_mask[captions])

    def encodings(self) -> list[Tensor]:
        """Return the encoded tensors that have a gradient: all that a loss asks of the encoders goes through them."""
        parts = (self.images.pooled, self.images.tokens, self.texts.pooled, self.texts.tokens)
        return [part for part in parts if part is not None and part.requires_grad]


class ContextualLoss(nn.Module):
    """A loss that reads more than scores: called as a ``MatchingLoss``, with the ``PairContext`` as ``context``.

    Attributes:
        needs_context: Whether it does so with its present settings.
        needs_pooled: Whether it compares pooled vectors, which not every matcher has.
        reads_scores: Whether it measures the scores too, so that all that a score goes through learns from it.
        key_momentum: How much of its weights the momentum copy keeps in a step, in [0, 1); ``None`` asks for no copy.
    """

    needs_context: bool = True
    needs_pooled: bool = False
    reads_scores: bool = True
    key_momentum: float | None = None


def needs_context(loss: object) -> bool:
    """Say whether a loss must be given a context."""
    return isinstance(loss, ContextualLoss) and loss.needs_context


def measure(
    loss: MatchingLoss | nn.Module,
    similarity: Float[Tensor, "B B"],
    positives: Bool[Tensor, "B B"],
    progress: float | int,
    context: PairContext | None,
) -> LossTerms:
    """Call any loss: with the context, if it is one that takes it."""
    if isinstance(loss, ContextualLoss):
        assert context is not None or not loss.needs_context, f"{type(loss).__name__} needs a context"
        return loss(similarity, positives, progress, context=context)
    return loss(similarity, positives, progress)


def check_pooled(loss: object, matcher: object) -> None:
    """Make sure that a matcher has the vectors that a loss compares, before anything is encoded.

    Raises:
        ConfigError: If the loss needs pooled vectors, and the matcher is a `TokenMatcher`.
    """
    if isinstance(loss, ContextualLoss) and loss.needs_pooled and isinstance(matcher, TokenMatcher):
        raise _no_pooled_vectors(type(loss).__name__)


def pooled_vectors(loss: str, images: Encoded, texts: Encoded) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
    """Return the vectors of images and captions, L2-normalised, in float32 at least.

    Args:
        loss: Name of the loss that asks, for the message.
        images: Encoded images.
        texts: Encoded captions.

    Raises:
        ConfigError: If the matcher has no such vectors.
    """
    if images.pooled is None or texts.pooled is None:
        raise _no_pooled_vectors(loss)
    return l2_normalise(working_precision(images.pooled)), l2_normalise(working_precision(texts.pooled))


def _no_pooled_vectors(loss: str) -> ConfigError:
    return ConfigError(
        f"loss {loss} compares one vector an image with one a caption, and this model has none: it compares "
        "regions with words; take a model that pools (model=vse, dual_path), or a loss on scores alone "
        "(loss=info_nce)"
    )
