"""InfoNCE with several positives: every image picks all captions that fit it, and every caption all its images."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tangka_match.losses.base import LogitScale, LossTerms, check_pairs, temperature_of, working_precision


def multi_positive_info_nce_loss(
    similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], logit_scale: Float[Tensor, ""] | float | int
) -> Float[Tensor, ""]:
    r"""Mean cross entropy of an anchor's positives among all items of the batch, over rows and columns.

    .. math:: L = -\frac{1}{2B} \sum_b \left[ \frac{1}{|P_b|} \sum_{p \in P_b} \log\frac{e^{a s_{bp}}}{\sum_c e^{a
              s_{bc}}} + \text{the same down column } b \right]

    with :math:`a = 1 / \text{temperature}` and the positives :math:`P_b` of an anchor, the pair itself among them.
    `info_nce_loss` leaves other positives out; here they are pulled closer like the pair. With the diagonal as the
    only positive both are the same.

    Source: Khosla et al., "Supervised Contrastive Learning", arXiv:2004.11362, eq. 2 (:math:`L_{out}`, the sum outside
    of the logarithm), with the duplicate groups of images and captions in place of class labels.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half is widened to float32.
        positives: (B, B), ``True`` where row and column belong together; ``True`` on the diagonal.
        logit_scale: Factor on the scores, ``1 / temperature``, > 0.

    Returns:
        The loss in nats, a scalar; at best the mean logarithm of the number of positives. With all scores equal it is
        ``log(B)``.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.

    Example:
        >>> import torch
        >>> multi_positive_info_nce_loss(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool), 1.0)  # log(2)
        tensor(0.6931)
    """
    check_pairs(similarity, positives)
    logits = working_precision(similarity) * logit_scale
    i2t = cross_entropy(logits, even_shares(positives, logits.dtype))
    t2i = cross_entropy(logits.T, even_shares(positives.T, logits.dtype))
    return (i2t + t2i) / 2


def even_shares(positives: Bool[Tensor, "B B"], dtype: torch.dtype) -> Float[Tensor, "B B"]:
    """Divide one among the positives of each row, as a target of cross entropy.

    >>> even_shares(torch.tensor([[True, True], [False, True]]), torch.float32).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    shares = positives.to(dtype)
    return shares / shares.sum(dim=1, keepdim=True)


class MultiPositiveInfoNCELoss(nn.Module):
    """InfoNCE over duplicate groups with a learnt or a fixed temperature; see `multi_positive_info_nce_loss`.

    Args:
        temperature: Scores are divided by it; where it is learnt, its value at the start.
        learn_temperature: Learn the temperature with the model.
        min_temperature: The lowest temperature allowed, > 0.

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

    def forward(
        self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], progress: float | int = 1.0
    ) -> LossTerms:
        """Measure the batch; ``progress`` changes nothing here (B = pairs of the batch)."""
        scale = self.logit_scale()
        loss = multi_positive_info_nce_loss(similarity, positives, scale)
        return LossTerms(loss, {"multi_positive_info_nce": loss.detach()}, {"temperature": temperature_of(scale)})

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Loss when all scores are equal: log(B), whatever is positive."""
        return math.log(len(positives))
