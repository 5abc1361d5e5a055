"""InfoNCE with several positives per image and caption (supervised contrastive loss)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tangka_match.losses.base import LossInputs, LossTerms
from tangka_match.losses.components import LogitScale, check_pairs, temperature_of
from tangka_match.ops import at_least_float32


def multi_positive_info_nce_loss(
    similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], logit_scale: Float[Tensor, ""] | float | int
) -> Float[Tensor, ""]:
    r"""Compute the mean cross entropy of all positives of an anchor, over rows and columns.

    .. math:: L = -\frac{1}{2B} \sum_b \left[ \frac{1}{|P_b|} \sum_{p \in P_b} \log\frac{e^{a s_{bp}}}{\sum_c e^{a
              s_{bc}}} + \text{the same down column } b \right]

    with the scale :math:`a = 1 / \text{temperature}` and the positives :math:`P_b` of pair b, itself included.

    Source: Khosla et al., "Supervised Contrastive Learning", arXiv:2004.11362, eq. 2 (:math:`L_{out}`), with images and
    captions that belong together in place of class labels.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half precision is computed
            in float32.
        positives: (B, B), ``True`` where row and column belong together; ``True`` on the diagonal.
        logit_scale: Multiplier of the scores, ``1 / temperature``, > 0.

    Returns:
        The loss in nats, a scalar; at least the mean logarithm of the number of positives, and ``log(B)`` if all scores
        are equal.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        >>> import torch
        >>> multi_positive_info_nce_loss(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool), 1.0)  # log(2)
        tensor(0.6931)
    """
    check_pairs(similarity, positives)
    logits = at_least_float32(similarity) * logit_scale
    i2t = cross_entropy(logits, even_shares(positives, logits.dtype))
    t2i = cross_entropy(logits.T, even_shares(positives.T, logits.dtype))
    return (i2t + t2i) / 2


def even_shares(positives: Bool[Tensor, "B B"], dtype: torch.dtype) -> Float[Tensor, "B B"]:
    """Distribute a target of 1 evenly over the positives of each row.

    >>> even_shares(torch.tensor([[True, True], [False, True]]), torch.float32).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    shares = positives.to(dtype)
    return shares / shares.sum(dim=1, keepdim=True)


class MultiPositiveInfoNCELoss(nn.Module):
    """InfoNCE with several positives and a learnt or constant temperature; see `multi_positive_info_nce_loss`.

    Relations:
        Same as `InfoNCELoss` when only the diagonal is positive. `InfoNCELoss` masks other positives out; here they
        are targets.

    Args:
        temperature: Divisor of the scores; the start value if it is learnt.
        learn_temperature: Whether to learn the temperature.
        min_temperature: Lowest temperature, > 0.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        temperature: float | int = 0.07,
        learn_temperature: bool = True,
        min_temperature: float | int = 0.01,
    ) -> None:
        super().__init__()
        self.logit_scale = LogitScale(temperature, min_temperature).requires_grad_(learn_temperature)

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch."""
        scale = self.logit_scale()
        loss = multi_positive_info_nce_loss(inputs.similarity, inputs.positives, scale)
        return LossTerms(loss, {"multi_positive_info_nce": loss.detach()}, {"temperature": temperature_of(scale)})
