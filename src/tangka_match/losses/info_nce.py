"""Symmetric InfoNCE: every image picks its caption among those of the batch, and every caption its image."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.losses.base import LogitScale, LossTerms, check_pairs, check_range, temperature_of, working_precision


def info_nce_loss(
    similarity: Float[Tensor, "B B"],
    positives: Bool[Tensor, "B B"],
    logit_scale: Float[Tensor, ""] | float | int,
    label_smoothing: float | int = 0.0,
) -> Float[Tensor, ""]:
    r"""Cross entropy of the matching pair among its candidates, over rows and columns.

    .. math:: L = -\frac{1}{2B} \sum_b \left[ \log\frac{e^{a s_{bb}}}{\sum_{c \in R_b} e^{a s_{bc}}}
              + \log\frac{e^{a s_{bb}}}{\sum_{c \in K_b} e^{a s_{cb}}} \right]

    with the scale :math:`a = 1 / \text{temperature}`; the candidates :math:`R_b` of row b (:math:`K_b` of column b)
    are the pair itself and all negatives. Other positives are no candidates: they are neither pushed away nor pulled.

    Sources: van den Oord et al., "Representation Learning with Contrastive Predictive Coding", arXiv:1807.03748, eq. 4;
    the symmetric form: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (CLIP),
    arXiv:2103.00020, fig. 3.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half is widened to float32.
        positives: (B, B), ``True`` where row and column are no negatives of each other; ``True`` on the diagonal.
        logit_scale: Factor on the scores, ``1 / temperature``, > 0.
        label_smoothing: Share of the target spread evenly over all candidates, the pair included, in [0, 1).

    Returns:
        The loss in nats, a scalar >= 0. With all scores equal it is the mean logarithm of the number of candidates:
        ``log(B)`` if only the diagonal is positive.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
        >>> info_nce_loss(scores, torch.eye(2, dtype=torch.bool), logit_scale=1.0)  # log(1 + e ** -2)
        tensor(0.1269)
    """
    check_pairs(similarity, positives)
    logits = working_precision(similarity) * logit_scale
    allowed = candidates(positives)
    i2t = pair_cross_entropy(logits, allowed, label_smoothing)
    t2i = pair_cross_entropy(logits.T, allowed.T, label_smoothing)
    return (i2t + t2i) / 2


def info_nce_collapse_value(positives: Bool[Tensor, "B B"]) -> float:
    """InfoNCE of equal scores: the mean logarithm of the number of candidates, at any temperature and smoothing.

    >>> import torch
    >>> round(info_nce_collapse_value(torch.eye(8, dtype=torch.bool)), 4)  # log(8)
    2.0794
    """
    allowed = candidates(positives)
    counts = torch.cat([allowed.sum(dim=1), allowed.sum(dim=0)])
    return counts.double().log().mean().item()


class InfoNCELoss(nn.Module):
    """InfoNCE with a learnt or a fixed temperature; see `info_nce_loss`.

    A learnt temperature is a parameter of this module: the optimiser must be given the loss's parameters too.

    Args:
        temperature: Scores are divided by it; where it is learnt, its value at the start.
        learn_temperature: Learn the temperature with the model.
        min_temperature: The lowest temperature allowed, > 0.
        label_smoothing: Share of the target spread over all candidates, in [0, 0.999].

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
        check_range("label_smoothing", label_smoothing, 0.0, 0.999, "at 1 the matching pair would count for nothing")
        self.label_smoothing = float(label_smoothing)
        self.logit_scale = LogitScale(temperature, min_temperature).requires_grad_(learn_temperature)

    def forward(
        self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], progress: float | int = 1.0
    ) -> LossTerms:
        """Measure the batch; ``progress`` changes nothing here (B = pairs of the batch)."""
        scale = self.logit_scale()
        loss = info_nce_loss(similarity, positives, scale, self.label_smoothing)
        return LossTerms(loss, {"info_nce": loss.detach()}, {"temperature": temperature_of(scale)})

    def pair_losses(self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"]) -> Float[Tensor, " B"]:
        """Loss of each pair, as an image among captions and as a caption among images; their mean is the loss."""
        check_pairs(similarity, positives)
        logits = working_precision(similarity) * self.logit_scale()
        allowed = candidates(positives)
        i2t = row_cross_entropy(logits, allowed, self.label_smoothing)
        t2i = row_cross_entropy(logits.T, allowed.T, self.label_smoothing)
        return (i2t + t2i) / 2

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Loss when all scores are equal: log(B) if only the diagonal is positive."""
        return info_nce_collapse_value(positives)


def candidates(positives: Bool[Tensor, "B B"]) -> Bool[Tensor, "B B"]:
    """Mark the pair itself and its negatives."""
    return ~positives | torch.eye(len(positives), dtype=torch.bool, device=positives.device)


def pair_cross_entropy(
    logits: Float[Tensor, "B N"], allowed: Bool[Tensor, "B N"], label_smoothing: float | int = 0.0
) -> Float[Tensor, ""]:
    """Mean cross entropy of the diagonal among what is allowed in every row; N >= B."""
    return row_cross_entropy(logits, allowed, label_smoothing).mean()


def row_cross_entropy(
    logits: Float[Tensor, "B N"], allowed: Bool[Tensor, "B N"], label_smoothing: float | int = 0.0
) -> Float[Tensor, " B"]:
    """Cross entropy of the diagonal among what is allowed, row by row; N >= B."""
    log_shares = logits.masked_fill(~allowed, float("-inf")).log_softmax(dim=1)
    pair = log_shares.diagonal()
    if label_smoothing == 0:
        return -pair
    even = log_shares.masked_fill(~allowed, 0.0).sum(dim=1) / allowed.sum(dim=1)
    return -(1 - label_smoothing) * pair - label_smoothing * even
