"""Interface of all losses: their inputs and outputs."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import ShapeError
from tangka_match.types import Encoded


class MomentumKeys(NamedTuple):
    """The pairs of a batch, encoded by a momentum copy of the matcher, without gradients.

    Attributes:
        images: Encoded images.
        texts: Encoded captions.
        image_index: Index of each pair's image in the training set, (B,).
        text_group: Index of each pair's caption text in the training set, (B,); equal texts have equal indices.
    """

    images: Encoded
    texts: Encoded
    image_index: Int[Tensor, " B"]
    text_group: Int[Tensor, " B"]


class LossContext(NamedTuple):
    """Embeddings and captions of a batch of B pairs.

    Attributes:
        images: Encoded images, with gradients.
        texts: Encoded captions, with gradients.
        token_ids: Token ids of the captions before augmentation.
        token_mask: ``True`` where a token is real.
        keys: Momentum encodings of the same pairs; ``None`` in validation, and if no loss requests them.
    """

    images: Encoded
    texts: Encoded
    token_ids: Int[Tensor, "B T"]
    token_mask: Bool[Tensor, "B T"]
    keys: MomentumKeys | None = None

    def select(self, rows: Int[Tensor, " N"], captions: Int[Tensor, " N"]) -> "LossContext":
        """Pair images with captions by index; momentum keys are dropped."""
        return LossContext(self.images[rows], self.texts[captions], self.token_ids[captions], self.token_mask[captions])


class LossInputs(NamedTuple):
    """Inputs of every loss.

    Attributes:
        similarity: Scores, (B, B): rows images, columns captions, higher = closer; matching pairs on the diagonal.
        positives: (B, B), ``True`` where image and caption belong together; ``True`` on the diagonal.
        context: Embeddings and captions of the batch; given to losses whose ``needs_context`` is true.
    """

    similarity: Float[Tensor, "B B"]
    positives: Bool[Tensor, "B B"]
    context: LossContext | None = None

    def sources(self) -> list[Tensor]:
        """Return the tensors with gradient that all parts of a loss are computed from.

        These are the scores, or the embeddings behind them where a part reads embeddings directly.
        """
        if self.context is None:
            return [self.similarity]
        images, texts = self.context.images, self.context.texts
        parts = (images.pooled, images.tokens, texts.pooled, texts.tokens)
        return [part for part in parts if part is not None and part.requires_grad]

    def detach(self) -> "LossInputs":
        """Return the same inputs without their autograd graph."""
        context = self.context
        if context is not None:
            context = context._replace(images=_detach(context.images), texts=_detach(context.texts))
        return LossInputs(self.similarity.detach(), self.positives, context)


class LossTerms(NamedTuple):
    """Output of every loss: the value to minimise, and values to log.

    Attributes:
        total: The loss, a scalar with gradient.
        terms: Unweighted parts of the loss by name, scalars without gradient; comparable while weights change.
        values: Current values of scheduled settings (numbers) and learnt ones (scalars without gradient), by name.
        weighted: Weighted parts by name, scalars with gradient that add up to ``total``; given only by losses of
            several parts, without parts whose weight is 0 throughout.
    """

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    values: Mapping[str, float | Float[Tensor, ""]]
    weighted: Mapping[str, Float[Tensor, ""]] = MappingProxyType({})

    def gradient_shares(self, sources: list[Float[Tensor, "..."]]) -> dict[str, float]:
        """Compute how much each weighted part contributes to the gradient, in percent.

        A part's share is the Frobenius norm of its gradient towards ``sources``, divided by the sum of all parts'
        norms. Gradients that oppose each other do not cancel. Parameter gradients and the graph stay untouched.

        Args:
            sources: Tensors that all parts are computed from, see `LossInputs.sources`.

        Returns:
            Percentages that add up to 100, or are all 0 if every gradient is zero.

        Example:
            >>> scores = torch.zeros(2, 2, requires_grad=True)
            >>> parts = {"a": 3 * scores[0, 0], "b": 1 - scores[1, 1]}
            >>> LossTerms(sum(parts.values()), {}, {}, parts).gradient_shares([scores])
            {'a': 75.0, 'b': 25.0}
        """
        norms = {}
        for name, part in self.weighted.items():
            gradients = torch.autograd.grad(part, sources, retain_graph=True, allow_unused=True)
            norms[name] = torch.stack([g.float().norm() for g in gradients if g is not None]).norm().item()
        total = sum(norms.values())
        return {name: 100.0 * norm / total if total > 0 else 0.0 for name, norm in norms.items()}


@runtime_checkable
class MatchingLoss(Protocol):
    """Loss on a batch of matching pairs: the interface that training requires.

    Optional members of a loss module:

    - ``schedules``: see `apply_schedules`;
    - ``collapse_value(inputs)``: see the function `collapse_value`;
    - ``pair_losses(inputs)``: loss of each pair, (B,), for ``training.noisy_pairs_from``;
    - the attributes of `ContextualLoss`, for a loss that reads embeddings or captions.
    """

    def __call__(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch."""
        ...


class ContextualLoss(nn.Module):
    """Base of losses that read ``inputs.context``.

    Attributes:
        needs_context: Whether the loss reads the context with its present settings.
        needs_pooled: Whether the loss compares pooled embeddings, which not every matcher has.
        reads_scores: Whether the loss reads the similarity matrix; if not, parameters of the matcher that only scores
            depend on get no gradient.
        key_momentum: Momentum of the copy that encodes ``context.keys``, in [0, 1); ``None`` requests no keys.
    """

    needs_context: bool = True
    needs_pooled: bool = False
    reads_scores: bool = True
    key_momentum: float | None = None


def needs_context(loss: object) -> bool:
    """Whether a loss must be called with a context."""
    return isinstance(loss, ContextualLoss) and loss.needs_context


def collapse_value(loss: MatchingLoss, inputs: LossInputs) -> float:
    """Compute the loss of a collapsed model, one that gives every pair the same score.

    The loss is evaluated on a constant similarity matrix. A loss whose value depends on the constant, that does not
    read the scores, or that has a state must have a method ``collapse_value(inputs) -> float`` of its own.

    Args:
        loss: The loss.
        inputs: A batch; its scores are not read.

    Example:
        >>> from tangka_match.losses import InfoNCELoss
        >>> pairs = torch.eye(8, dtype=torch.bool)
        >>> round(collapse_value(InfoNCELoss(), LossInputs(torch.rand(8, 8), pairs)), 4)  # log(8)
        2.0794
    """
    own = getattr(loss, "collapse_value", None)
    if own is not None:
        return float(own(inputs))
    with torch.no_grad():
        return loss(inputs._replace(similarity=torch.zeros_like(inputs.similarity))).total.item()


def positive_mask(image_index: Int[Tensor, " B"], text_group: Int[Tensor, " B"]) -> Bool[Tensor, "B B"]:
    """Mark pairs that share the image or the caption text.

    Every caption of an image describes it, and equal texts describe all their images; as negatives they would be
    false negatives.

    Args:
        image_index: Image index of each pair, (B,).
        text_group: Caption text index of each pair, (B,); equal texts have equal indices.

    Returns:
        (B, B), symmetric, ``True`` on the diagonal.

    Raises:
        ShapeError: If the lengths differ.

    Example:
        Pairs 0 and 1 share an image; pairs 1 and 2 share a text.

        >>> import torch
        >>> positive_mask(torch.tensor([4, 4, 9]), torch.tensor([0, 1, 1])).int()
        tensor([[1, 1, 0],
                [1, 1, 1],
                [0, 1, 1]], dtype=torch.int32)
    """
    if image_index.shape != text_group.shape:
        raise ShapeError(
            f"image_index is {tuple(image_index.shape)} but text_group is {tuple(text_group.shape)}; "
            "both must hold one index per pair"
        )
    same_image = image_index[:, None] == image_index[None, :]
    same_text = text_group[:, None] == text_group[None, :]
    return same_image | same_text


def _detach(encoded: Encoded) -> Encoded:
    parts = (encoded.pooled, encoded.tokens, encoded.mask)
    pooled, tokens, mask = (None if part is None else part.detach() for part in parts)
    return Encoded(pooled, tokens, mask, encoded.lengths)
