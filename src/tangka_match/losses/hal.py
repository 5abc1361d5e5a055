"""HAL: the hubness-aware loss, a log-sum-exp over all negatives of an anchor."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.losses.base import LossInputs, LossTerms
from tangka_match.losses.components import check_pairs, check_range
from tangka_match.ops import at_least_float32


def hal_loss(
    similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], gamma: float | int, epsilon: float | int
) -> Float[Tensor, ""]:
    r"""Compute the log-sum-exp of an anchor's negatives minus the logarithm of its pair.

    .. math:: L = \frac{1}{B} \sum_b \left[ \frac{1}{\gamma} \log\Big(1 + \sum_{c \in N_b} e^{\gamma (s_{bc} -
              \epsilon)}\Big) + \frac{1}{\gamma} \log\Big(1 + \sum_{c \in M_b} e^{\gamma (s_{cb} - \epsilon)}\Big) -
              \log(1 + s_{bb}) \right]

    over the negatives :math:`N_b` of row b and :math:`M_b` of column b. Each negative is weighted by its softmax
    share, so a hub, an image close to many captions, gets a gradient from all of them; the hardest-negative hinge sees
    only one. For pairs with a score below 0 the last term continues as its tangent, :math:`-s_{bb}`; the authors' code
    clips it there, which leaves such pairs without a gradient.

    Source: Liu et al., "HAL: Improved Text-Image Matching by Mitigating Visual Semantic Hubs", arXiv:1911.10097,
    without the memory bank, as in the authors' code (``local_alpha`` and ``local_ep``).

    Args:
        similarity: Scores, (B, B), cosines or similar: rows images, columns captions, pairs on the diagonal; half
            precision is computed in float32.
        positives: (B, B), ``True`` where row and column are not negatives of each other; ``True`` on the diagonal.
        gamma: Sharpness; larger values weight the closest negatives more, > 0.
        epsilon: Score above which a negative is penalised.

    Returns:
        The loss, a scalar; negative for a good model, at least ``-log(2)`` for cosines.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        >>> pair = torch.tensor([[1.0]])
        >>> hal_loss(pair, pair > 0, gamma=30.0, epsilon=0.3)  # no negatives: -log(2)
        tensor(-0.6931)
    """
    check_pairs(similarity, positives)
    scores = at_least_float32(similarity)
    excess = (gamma * (scores - epsilon)).masked_fill(positives, float("-inf"))
    one = excess.new_zeros(len(excess), 1)
    by_image = torch.cat([excess, one], dim=1).logsumexp(dim=1)
    by_caption = torch.cat([excess.T, one], dim=1).logsumexp(dim=1)
    pairs = scores.diagonal()
    pulled = torch.where(pairs > 0, pairs.relu().log1p(), pairs)
    return ((by_image + by_caption) / gamma - pulled).mean()


class HALLoss(nn.Module):
    """Hubness-aware loss; see `hal_loss`.

    Args:
        gamma: Sharpness; larger values weight the closest negatives more, in [0.1, 1000].
        epsilon: Score above which a negative is penalised, in [-1, 1].

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(self, gamma: float | int = 30.0, epsilon: float | int = 0.3) -> None:
        super().__init__()
        check_range("gamma", gamma, 0.1, 1000.0, "30 to 60 is usual")
        check_range("epsilon", epsilon, -1.0, 1.0, "it is compared with cosines")
        self.gamma = float(gamma)
        self.epsilon = float(epsilon)

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch."""
        loss = hal_loss(inputs.similarity, inputs.positives, self.gamma, self.epsilon)
        return LossTerms(loss, {"hal": loss.detach()}, {})

    def collapse_value(self, inputs: LossInputs) -> float:
        """Compute the lowest loss over all constant score matrices with scores up to 1.

        The loss of a constant matrix is convex in the constant; bisection on the sign of its slope finds the minimum.
        """
        gamma, epsilon, negatives = self.gamma, self.epsilon, ~inputs.positives
        counts = torch.cat([negatives.sum(dim=1), negatives.sum(dim=0)]).cpu().double()  # Apple's GPUs have no float64
        low, high = -abs(epsilon) - (2 + math.log(len(negatives))) / gamma, 1.0
        for _ in range(60):
            score = (low + high) / 2
            push = 2 * (gamma * (score - epsilon) + counts.log()).sigmoid().mean().item()
            low, high = (low, score) if push > 1 / (1 + max(score, 0.0)) else (score, high)
        cost = 2 * (counts * math.exp(gamma * (low - epsilon))).log1p().mean().item() / gamma
        return cost - (math.log1p(low) if low > 0 else low)
