"""Sigmoid pairwise loss: every image and caption of the batch is a yes-or-no question of its own."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from tangka_match.losses.base import LogitScale, LossTerms, check_pairs, check_range, temperature_of, working_precision


def sigmoid_loss(
    similarity: Float[Tensor, "B B"],
    positives: Bool[Tensor, "B B"],
    logit_scale: Float[Tensor, ""] | float | int,
    bias: Float[Tensor, ""] | float | int,
) -> Float[Tensor, ""]:
    r"""Sum of the binary cross entropies of all entries, divided by the number of pairs.

    .. math:: L = -\frac{1}{B} \sum_{b,c} \log \sigma\left(z_{bc} (a s_{bc} + \beta)\right)

    with :math:`z_{bc} = 1` where row and column belong together, else -1. No entry is compared with another, so that
    several positives need no rule of their own.

    Source: Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (SigLIP), arXiv:2303.15343, algorithm 1.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half is widened to float32.
        positives: (B, B), ``True`` where row and column belong together; ``True`` on the diagonal.
        logit_scale: Factor ``a`` on the scores, ``1 / temperature``, > 0.
        bias: Added to the scaled scores; below 0, since most entries are negatives.

    Returns:
        The loss in nats a pair, a scalar >= 0.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        >>> sigmoid_loss(torch.zeros(2, 2), torch.eye(2, dtype=torch.bool), 1.0, 0.0)  # 4 * log(2) / 2
        tensor(1.3863)
    """
    check_pairs(similarity, positives)
    logits = working_precision(similarity) * logit_scale + bias
    return -logsigmoid(torch.where(positives, logits, -logits)).sum() / len(logits)


def sigmoid_collapse_value(positives: Bool[Tensor, "B B"]) -> float:
    """The lowest loss that equal scores reach: each entry is then answered by the share of positives.

    The learnt bias takes a model that tells nothing apart there, whatever its one score is.

    >>> round(sigmoid_collapse_value(torch.eye(2, dtype=torch.bool)), 4)  # half of the entries: 4 * log(2) / 2
    1.3863
    """
    count = positives.numel()
    yes = positives.sum().item()
    entropy = -sum(part * math.log(part / count) for part in (yes, count - yes) if part > 0)
    return entropy / len(positives)


class SigmoidLoss(nn.Module):
    """Sigmoid pairwise loss with a learnt temperature and a learnt bias; see `sigmoid_loss`.

    Args:
        temperature: Scores are divided by it; its value at the start.
        bias: Its value at the start. SigLIP's -10 is for batches of thousands; ``-log(B)`` answers all entries by the
            share of positives.
        min_temperature: The lowest temperature allowed, > 0.

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

    def forward(
        self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], progress: float | int = 1.0
    ) -> LossTerms:
        """Measure the batch; ``progress`` changes nothing here (B = pairs of the batch)."""
        scale, bias = self.logit_scale(), self.bias.float()
        loss = sigmoid_loss(similarity, positives, scale, bias)
        values = {"temperature": temperature_of(scale), "bias": bias.item()}
        return LossTerms(loss, {"sigmoid": loss.detach()}, values)

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """The lowest loss of equal scores, where the bias settles when the model tells nothing apart."""
        return sigmoid_collapse_value(positives)
