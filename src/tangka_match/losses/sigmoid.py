"""Sigmoid loss: one binary classification per image–caption combination (SigLIP)."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from tangka_match.losses.base import LossInputs, LossTerms
from tangka_match.losses.components import LogitScale, check_pairs, check_range, temperature_of
from tangka_match.ops import at_least_float32


def sigmoid_loss(
    similarity: Float[Tensor, "B B"],
    positives: Bool[Tensor, "B B"],
    logit_scale: Float[Tensor, ""] | float | int,
    bias: Float[Tensor, ""] | float | int,
) -> Float[Tensor, ""]:
    r"""Compute the sum of the binary cross entropies of all entries, divided by the number of pairs.

    .. math:: L = -\frac{1}{B} \sum_{b,c} \log \sigma\left(z_{bc} (a s_{bc} + \beta)\right)

    with the scale :math:`a`, the bias :math:`\beta`, and :math:`z_{bc} = 1` where row and column belong together,
    else -1. Entries do not compete, so several positives need no special treatment.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (SigLIP), arXiv:2303.15343, algorithm 1.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half precision is computed
            in float32.
        positives: (B, B), ``True`` where row and column belong together; ``True`` on the diagonal.
        logit_scale: Multiplier of the scores, ``1 / temperature``, > 0.
        bias: Offset of the scaled scores; negative, because most entries are negatives.

    Returns:
        The loss in nats per pair, a scalar >= 0.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        >>> sigmoid_loss(torch.zeros(2, 2), torch.eye(2, dtype=torch.bool), 1.0, 0.0)  # 4 * log(2) / 2
        tensor(1.3863)
    """
    check_pairs(similarity, positives)
    logits = at_least_float32(similarity) * logit_scale + bias
    return -logsigmoid(torch.where(positives, logits, -logits)).sum() / len(logits)


class SigmoidLoss(nn.Module):
    """Sigmoid loss with a learnt temperature and a learnt bias; see `sigmoid_loss`.

    Recommendations:
        SigLIP's bias of -10 is for batches of thousands; ``-log(B)`` predicts the share of positives at the start.

    Args:
        temperature: Start value of the divisor of the scores.
        bias: Start value of the bias.
        min_temperature: Lowest temperature, > 0.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self, temperature: float | int = 0.1, bias: float | int = -10.0, min_temperature: float | int = 0.01
    ) -> None:
        super().__init__()
        check_range("bias", bias, -100.0, 100.0, "it is added to scores divided by the temperature")
        self.logit_scale = LogitScale(temperature, min_temperature)
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch."""
        scale, bias = self.logit_scale(), self.bias.float()
        loss = sigmoid_loss(inputs.similarity, inputs.positives, scale, bias)
        values = {"temperature": temperature_of(scale), "bias": bias.detach()}
        return LossTerms(loss, {"sigmoid": loss.detach()}, values)

    def collapse_value(self, inputs: LossInputs) -> float:
        """Compute the lowest loss over all constant score matrices: every entry predicts the share of positives.

        The learnt bias of a collapsed model converges there.

        >>> pairs = torch.eye(2, dtype=torch.bool)
        >>> round(SigmoidLoss().collapse_value(LossInputs(pairs.float(), pairs)), 4)  # 4 * log(2) / 2
        1.3863
        """
        count, positive = inputs.positives.numel(), int(inputs.positives.sum())
        entropy = -sum(part * math.log(part / count) for part in (positive, count - positive) if part > 0)
        return entropy / len(inputs.positives)
