"""Triplet margin loss with hardest, all, or blended negatives."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.losses.base import LossInputs, LossTerms
from tangka_match.losses.components import check_pairs, check_range
from tangka_match.ops import at_least_float32


def triplet_margin_loss(
    similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], margin: float | int, hardness: float | int
) -> Float[Tensor, ""]:
    r"""Compute the mean hinge of images against negative captions and of captions against negative images.

    .. math:: L = \frac{1}{2B} \sum_b \left[ (1 - h) \operatorname{mean}_{c \in N_b} \ell_{bc} + h \max_{c \in N_b}
              \ell_{bc} + \text{the same down column } b \right], \quad \ell_{bc} = \max(0, m + s_{bc} - s_{bb})

    with the negatives :math:`N_b` of pair b, the margin :math:`m` and the hardness :math:`h`. An anchor without
    negatives adds 0. The mean over all 2B anchors makes the scale of the loss, and so the learning rate, independent
    of the batch size.

    Relations to published losses, which are sums over the batch with only the diagonal as positives:

    - all negatives (VSE, SCAN): ``sum = 2 * B * (B - 1) * loss`` with ``hardness=0``;
    - hardest negative (VSE++ arXiv:1707.05612 eq. 6, SGRAF arXiv:2101.01368 eq. 14): ``sum = 2 * B * loss`` with
      ``hardness=1``.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half precision is computed
            in float32.
        positives: (B, B), ``True`` where row and column are not negatives of each other; ``True`` on the diagonal.
        margin: Minimum gap between positive and negative scores, >= 0.
        hardness: Share of the hardest negative, in [0, 1].

    Returns:
        The loss, a scalar >= 0; ``margin`` if all scores are equal and every anchor has a negative.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        Hinges: 0 for image 0, 0.3 for image 1, 0.1 for caption 0, and 0 for caption 1.

        >>> import torch
        >>> scores = torch.tensor([[0.6, 0.1], [0.5, 0.4]])
        >>> triplet_margin_loss(scores, torch.eye(2, dtype=torch.bool), margin=0.2, hardness=1.0)  # (0.3 + 0.1) / 4
        tensor(0.1000)
    """
    check_pairs(similarity, positives)
    scores = at_least_float32(similarity)
    pairs = scores.diagonal()
    negatives = ~positives
    by_image = (margin + scores - pairs[:, None]).relu() * negatives
    by_caption = (margin + scores - pairs[None, :]).relu() * negatives
    i2t = _anchor_costs(by_image, negatives, hardness)
    t2i = _anchor_costs(by_caption.T, negatives.T, hardness)
    return (i2t.mean() + t2i.mean()) / 2


class TripletMarginLoss(nn.Module):
    """Triplet loss with a constant margin and hardness; see `triplet_margin_loss`.

    Recommendations:
        On small data sets, hardest negatives from the first step collapse the model (all scores equal, loss = margin).
        Start with ``hard_negatives=0`` or use `CurriculumLoss`.

    Args:
        margin: Minimum gap between positive and negative scores, >= 0.
        hard_negatives: Share of the hardest negative: 0 = mean over all negatives, 1 = hardest negative only.
        reduction: ``"mean"`` over the 2B anchors, or their ``"sum"``, as published. Adam divides the gradient by its
            own size, so that only its ``eps`` and gradient clipping tell the two apart.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        margin: float | int = 0.2,
        hard_negatives: float | int = 1.0,
        reduction: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ConfigError(f"reduction={reduction!r} must be 'mean' or 'sum'")
        check_range("margin", margin, 0.0, float("inf"), "positive pairs must score higher than negatives")
        check_range("hard_negatives", hard_negatives, 0.0, 1.0, "0 = mean over all negatives, 1 = hardest only")
        self.margin = float(margin)
        self.hard_negatives = float(hard_negatives)
        self.reduction = reduction

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch."""
        loss = triplet_margin_loss(inputs.similarity, inputs.positives, self.margin, self.hard_negatives)
        if self.reduction == "sum":
            loss = 2 * len(inputs.similarity) * loss
        return LossTerms(loss, {"triplet": loss.detach()}, {})


def _anchor_costs(
    hinge: Float[Tensor, "B B"], negatives: Bool[Tensor, "B B"], hardness: float | int
) -> Float[Tensor, " B"]:
    """Blend each row's mean hinge over the negatives with its largest hinge."""
    mean = hinge.sum(dim=1) / negatives.sum(dim=1).clamp(min=1)
    return (1 - hardness) * mean + hardness * hinge.amax(dim=1)
