"""HAL, the hubness-aware loss: all negatives of an anchor, the closest ones most, and pairs by their logarithm."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.losses.base import LossTerms, check_pairs, check_range, working_precision


def hal_loss(
    similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], gamma: float | int, epsilon: float | int
) -> Float[Tensor, ""]:
    r"""Log-sum-exp of an anchor's negatives, less the logarithm of its pair.

    .. math:: L = \frac{1}{B} \sum_b \left[ \frac{1}{\gamma} \log\Big(1 + \sum_{c \in N_b} e^{\gamma (s_{bc} -
              \epsilon)}\Big) + \frac{1}{\gamma} \log\Big(1 + \sum_{c \in M_b} e^{\gamma (s_{cb} - \epsilon)}\Big) -
              \log(1 + s_{bb}) \right]

    over the negatives :math:`N_b` of row and :math:`M_b` of column b. A negative is pushed away by its softmax share
    among all negatives and the 1: an image that is close to many captions, a hub, is pushed by each of them, where the
    hardest-negative hinge sees one. Below a score of 0, where the authors' code cuts the last term off and such a pair
    is pulled by nothing, it goes on as its tangent, :math:`-s_{bb}`.

    Source: Liu et al., "HAL: Improved Text-Image Matching by Mitigating Visual Semantic Hubs", arXiv:1911.10097, the
    form without a memory bank, as its authors' code computes it (their ``local_alpha`` and ``local_ep``).

    Args:
        similarity: Scores, (B, B), cosines or the like: rows images, columns captions, pairs on the diagonal; half is
            widened to float32.
        positives: (B, B), ``True`` where row and column are no negatives of each other; ``True`` on the diagonal.
        gamma: How much the closest negatives count before the others, > 0.
        epsilon: Score above which a negative costs, in units of the score.

    Returns:
        The loss, a scalar; below 0 for a good model, at best ``-log(2)`` for cosines.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        >>> pair = torch.tensor([[1.0]])
        >>> hal_loss(pair, pair > 0, gamma=30.0, epsilon=0.3)  # no negatives: -log(2)
        tensor(-0.6931)
    """
    check_pairs(similarity, positives)
    scores = working_precision(similarity)
    excess = (gamma * (scores - epsilon)).masked_fill(positives, float("-inf"))
    one = excess.new_zeros(len(excess), 1)
    by_image = torch.cat([excess, one], dim=1).logsumexp(dim=1)
    by_caption = torch.cat([excess.T, one], dim=1).logsumexp(dim=1)
    pairs = scores.diagonal()
    pulled = torch.where(pairs > 0, pairs.relu().log1p(), pairs)
    return ((by_image + by_caption) / gamma - pulled).mean()


def hal_collapse_value(positives: Bool[Tensor, "B B"], gamma: float | int, epsilon: float | int) -> float:
    """The lowest loss that equal scores up to 1 reach: where a model that tells nothing apart settles.

    The loss of equal scores is convex in the score: halving an interval by the sign of the slope finds the lowest.
    """
    negatives = torch.cat([(~positives).sum(dim=1), (~positives).sum(dim=0)]).double()
    low, high = -abs(epsilon) - (2 + math.log(len(positives))) / gamma, 1.0
    for _ in range(60):
        score = (low + high) / 2
        push = 2 * (gamma * (score - epsilon) + negatives.log()).sigmoid().mean().item()
        low, high = (low, score) if push > 1 / (1 + max(score, 0.0)) else (score, high)
    cost = 2 * (negatives * math.exp(gamma * (low - epsilon))).log1p().mean().item() / gamma
    return cost - (math.log1p(low) if low > 0 else low)


class HALLoss(nn.Module):
    """Hubness-aware loss with one sharpness and one threshold for the whole run; see `hal_loss`.

    Args:
        gamma: How much the closest negatives count before the others, in [0.1, 1000].
        epsilon: Score above which a negative costs, in [-1, 1].

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(self, gamma: float | int = 30.0, epsilon: float | int = 0.3) -> None:
        super().__init__()
        check_range("gamma", gamma, 0.1, 1000.0, "30 to 60 is usual")
        check_range("epsilon", epsilon, -1.0, 1.0, "it is compared with cosines")
        self.gamma = float(gamma)
        self.epsilon = float(epsilon)

    def forward(
        self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], progress: float | int = 1.0
    ) -> LossTerms:
        """Measure the batch; ``progress`` changes nothing here (B = pairs of the batch)."""
        loss = hal_loss(similarity, positives, self.gamma, self.epsilon)
        return LossTerms(loss, {"hal": loss.detach()}, {})

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """The lowest loss of equal scores."""
        return hal_collapse_value(positives, self.gamma, self.epsilon)
