"""Hinge loss that wants every pair to beat its negatives by a margin."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.losses.base import LossTerms, check_pairs, check_range, working_precision


def triplet_margin_loss(
    similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], margin: float | int, hardness: float | int
) -> Float[Tensor, ""]:
    r"""Mean hinge of every image against its wrong captions and of every caption against its wrong images.

    For a pair :math:`b` and a negative caption :math:`c` the hinge is
    :math:`h_{bc} = \max(0, m + s_{bc} - s_{bb})`, and likewise down the columns for negative images. An anchor (one
    row, or one column) pays ``(1 - hardness) * mean(h) + hardness * max(h)`` over its negatives; the loss is the mean
    over all 2B anchors, so that neither the batch size nor the number of negatives changes its scale and, with it,
    the learning rate. An anchor without negatives pays 0.

    Relations to the published losses, which are sums over the batch with only the diagonal as positives:

    - all negatives (VSE, SCAN): ``sum = 2 * B * (B - 1) * loss`` at ``hardness=0``;
    - hardest negative (VSE++ arXiv:1707.05612 eq. 6, SGRAF arXiv:2101.01368 eq. 14): ``sum = 2 * B * loss`` at
      ``hardness=1``.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half is widened to float32.
        positives: (B, B), ``True`` where row and column are no negatives of each other; ``True`` on the diagonal.
        margin: By how much a pair must beat its negatives, in units of the score, >= 0.
        hardness: Share of the hardest negative in an anchor's cost, in [0, 1].

    Returns:
        The loss, a scalar >= 0. With all scores equal it is ``margin``, if every anchor has a negative.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        Image 0 beats its negative by 0.5; image 1 loses to it by 0.1; caption 0 wins by 0.1, caption 1 by 0.3.

        >>> import torch
        >>> scores = torch.tensor([[0.6, 0.1], [0.5, 0.4]])
        >>> triplet_margin_loss(scores, torch.eye(2, dtype=torch.bool), margin=0.2, hardness=1.0)  # (0.3 + 0.1) / 4
        tensor(0.1000)
    """
    check_pairs(similarity, positives)
    scores = working_precision(similarity)
    pairs = scores.diagonal()
    negatives = ~positives
    by_image = (margin + scores - pairs[:, None]).relu() * negatives
    by_caption = (margin + scores - pairs[None, :]).relu() * negatives
    i2t = _anchor_costs(by_image, negatives, hardness)
    t2i = _anchor_costs(by_caption.T, negatives.T, hardness)
    return (i2t.mean() + t2i.mean()) / 2


def triplet_collapse_value(positives: Bool[Tensor, "B B"], margin: float | int) -> float:
    """Hinge loss of equal scores: ``margin`` times the share of anchors that have a negative.

    >>> import torch
    >>> round(triplet_collapse_value(torch.eye(4, dtype=torch.bool), margin=0.2), 6)
    0.2
    """
    negatives = ~positives
    has_negative = (negatives.any(dim=1).sum() + negatives.any(dim=0).sum()).item()
    return margin * has_negative / (2 * len(positives))


class TripletMarginLoss(nn.Module):
    """Triplet loss with one margin and one hardness for the whole run; see `triplet_margin_loss`.

    The hardest negative from the first step on collapses small data sets (every score equal, the loss at
    `collapse_value`): start softer, or take `CurriculumLoss`, which moves from all negatives to the hardest.

    Args:
        margin: By how much a pair must beat its negatives, in units of the score, >= 0.
        hard_negatives: 0 = the mean over all negatives, 1 = the hardest alone, between = a linear blend.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(self, margin: float | int = 0.2, hard_negatives: float | int = 1.0) -> None:
        super().__init__()
        check_range("margin", margin, 0.0, float("inf"), "a pair cannot be asked to lose to its negatives")
        check_range("hard_negatives", hard_negatives, 0.0, 1.0, "0 = mean of all negatives, 1 = the hardest alone")
        self.margin = float(margin)
        self.hard_negatives = float(hard_negatives)

    def forward(
        self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], progress: float | int = 1.0
    ) -> LossTerms:
        """Measure the batch; ``progress`` changes nothing here (B = pairs of the batch)."""
        loss = triplet_margin_loss(similarity, positives, self.margin, self.hard_negatives)
        return LossTerms(loss, {"triplet": loss.detach()}, {})

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Loss when all scores are equal: the margin, if every anchor has a negative."""
        return triplet_collapse_value(positives, self.margin)


def _anchor_costs(
    hinge: Float[Tensor, "B B"], negatives: Bool[Tensor, "B B"], hardness: float | int
) -> Float[Tensor, " B"]:
    """Cost of every row: its mean hinge over the negatives, blended with its largest one."""
    mean = hinge.sum(dim=1) / negatives.sum(dim=1).clamp(min=1)
    return (1 - hardness) * mean + hardness * hinge.amax(dim=1)
