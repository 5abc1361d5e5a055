"""Symmetric InfoNCE: cross entropy over the batch, images to captions and captions to images."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.losses.base import LossInputs, LossTerms
from tangka_match.losses.components import LogitScale, check_pairs, check_range, temperature_of
from tangka_match.ops import at_least_float32


def info_nce_loss(
    similarity: Float[Tensor, "B B"],
    positives: Bool[Tensor, "B B"],
    logit_scale: Float[Tensor, ""] | float | int,
    label_smoothing: float | int = 0.0,
) -> Float[Tensor, ""]:
    r"""Compute the cross entropy of each pair among its candidates, over rows and columns.

    .. math:: L = -\frac{1}{2B} \sum_b \left[ \log\frac{e^{a s_{bb}}}{\sum_{c \in R_b} e^{a s_{bc}}}
              + \log\frac{e^{a s_{bb}}}{\sum_{c \in K_b} e^{a s_{cb}}} \right]

    with the scale :math:`a = 1 / \text{temperature}`. The candidates :math:`R_b` of row b (:math:`K_b` of column b)
    are the pair itself and all negatives; other positives are masked out.

    Sources: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", arXiv:1807.03748, eq. 4;
    symmetric form: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (CLIP),
    arXiv:2103.00020, fig. 3.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half precision is computed
            in float32.
        positives: (B, B), ``True`` where row and column are not negatives of each other; ``True`` on the diagonal.
        logit_scale: Multiplier of the scores, ``1 / temperature``, > 0.
        label_smoothing: Share of the target that is spread evenly over all candidates, in [0, 1).

    Returns:
        The loss in nats, a scalar >= 0; ``log(B)`` if all scores are equal and only the diagonal is positive.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> info_nce_loss(scores, torch.eye(2, dtype=torch.bool), logit_scale=1.0)  # log(1 + e ** -2)
        tensor(0.1269)
    """
    check_pairs(similarity, positives)
    logits = at_least_float32(similarity) * logit_scale
    allowed = candidates(positives)
    i2t = pair_cross_entropy(logits, allowed, label_smoothing)
    t2i = pair_cross_entropy(logits.T, allowed.T, label_smoothing)
    return (i2t + t2i) / 2


class InfoNCELoss(nn.Module):
    """InfoNCE with a learnt or constant temperature; see `info_nce_loss`.

    Requirements:
        The optimizer must also get the parameters of this module (the learnt temperature).

    Relations:
        `MultiPositiveInfoNCELoss` treats other positives as targets instead of masking them out.

    Args:
        temperature: Divisor of the scores; the start value if it is learnt.
        learn_temperature: Whether to learn the temperature.
        min_temperature: Lowest temperature, > 0.
        label_smoothing: Share of the target that is spread over all candidates, in [0, 0.999].

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        temperature: float | int = 0.07,
        learn_temperature: bool = True,
        min_temperature: float | int = 0.01,
        label_smoothing: float | int = 0.0,
    ) -> None:
        super().__init__()
        check_range("label_smoothing", label_smoothing, 0.0, 0.999, "at 1 the matching pair would have no weight")
        self.label_smoothing = float(label_smoothing)
        self.logit_scale = LogitScale(temperature, min_temperature).requires_grad_(learn_temperature)

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch."""
        scale = self.logit_scale()
        loss = info_nce_loss(inputs.similarity, inputs.positives, scale, self.label_smoothing)
        return LossTerms(loss, {"info_nce": loss.detach()}, {"temperature": temperature_of(scale)})

    def pair_losses(self, inputs: LossInputs) -> Float[Tensor, " B"]:
        """Compute the loss of each pair, the mean of both directions; the mean over pairs is the loss."""
        check_pairs(inputs.similarity, inputs.positives)
        logits = at_least_float32(inputs.similarity) * self.logit_scale()
        allowed = candidates(inputs.positives)
        i2t = row_cross_entropy(logits, allowed, self.label_smoothing)
        t2i = row_cross_entropy(logits.T, allowed.T, self.label_smoothing)
        return (i2t + t2i) / 2


def candidates(positives: Bool[Tensor, "B B"]) -> Bool[Tensor, "B B"]:
    """Mark each pair itself and its negatives."""
    return ~positives | torch.eye(len(positives), dtype=torch.bool, device=positives.device)


def pair_cross_entropy(
    logits: Float[Tensor, "B N"], allowed: Bool[Tensor, "B N"], label_smoothing: float | int = 0.0
) -> Float[Tensor, ""]:
    """Compute the mean cross entropy of the diagonal among the allowed columns; N >= B."""
    return row_cross_entropy(logits, allowed, label_smoothing).mean()


def row_cross_entropy(
    logits: Float[Tensor, "B N"], allowed: Bool[Tensor, "B N"], label_smoothing: float | int = 0.0
) -> Float[Tensor, " B"]:
    """Compute the cross entropy of the diagonal among the allowed columns, per row; N >= B."""
    log_shares = logits.masked_fill(~allowed, float("-inf")).log_softmax(dim=1)
    pair = log_shares.diagonal()
    if label_smoothing == 0:
        return -pair
    even = log_shares.masked_fill(~allowed, 0.0).sum(dim=1) / allowed.sum(dim=1)
    return -(1 - label_smoothing) * pair - label_smoothing * even
