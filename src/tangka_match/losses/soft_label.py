"""InfoNCE whose target is not one caption alone: captions that say nearly the same share in it."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from tangka_match.losses.base import LogitScale, LossTerms, check_pairs, check_range, temperature_of, working_precision
from tangka_match.losses.context import ContextualLoss, PairContext
from tangka_match.losses.multi_positive_info_nce import even_shares
from tangka_match.ops import tfidf_overlap


def soft_label_loss(
    similarity: Float[Tensor, "B B"],
    positives: Bool[Tensor, "B B"],
    overlap: Float[Tensor, "B B"],
    logit_scale: Float[Tensor, ""] | float | int,
    *,
    soft_share: float | int,
    target_temperature: float | int,
) -> Float[Tensor, ""]:
    r"""Cross entropy between the scores and a target that caption similarity softens, over rows and columns.

    The target of row b is :math:`(1 - w)\, p_b / |p_b| + w\, \text{softmax}_c(o_{bc} / \tau)`: the captions that belong
    to it (:math:`p`, its own among them) in equal shares, and all captions by their similarity :math:`o` to the caption
    of row b, 1 where row and column belong together. The columns' target is the same of the transposed matrix.

    Source: Huang et al., "Cross-Modal and Uni-Modal Soft-Label Alignment for Image-Text Retrieval" (CUSA),
    arXiv:2403.05261, where pretrained encoders give the similarity; here the captions' own words do (`tfidf_overlap`).
    Several captions of an image share in the first part too, as in `multi_positive_info_nce_loss`.

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half is widened to float32.
        positives: (B, B), ``True`` where row and column belong together; ``True`` on the diagonal.
        overlap: Similarity of captions, (B, B), in [0, 1].
        logit_scale: Factor on the scores, ``1 / temperature``, > 0.
        soft_share: Share ``w`` of the softened target, in [0, 1]; 0 is `multi_positive_info_nce_loss`.
        target_temperature: ``tau``, > 0; towards 0 only captions as similar as the pair itself share in the target.

    Returns:
        The loss in nats, a scalar; at best the entropy of the targets. With all scores equal it is ``log(B)``.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.
    """
    check_pairs(similarity, positives)
    logits = working_precision(similarity) * logit_scale
    alike = overlap.to(logits.dtype).masked_fill(positives, 1.0) / target_temperature
    directions = ((logits, positives, alike), (logits.T, positives.T, alike.T))
    losses = [
        cross_entropy(scores, torch.lerp(even_shares(marks, logits.dtype), near.softmax(dim=1), soft_share))
        for scores, marks, near in directions
    ]
    return (losses[0] + losses[1]) / 2


class SoftLabelLoss(ContextualLoss):
    """InfoNCE with targets softened by what captions of the batch share in words; see `soft_label_loss`.

    Args:
        soft_share: Share of the softened target, in [0, 1].
        target_temperature: Caption similarities are divided by it before the softmax, in [0.001, 100].
        temperature: Scores are divided by it; where it is learnt, its value at the start.
        learn_temperature: Learn the temperature with the model.
        min_temperature: The lowest temperature allowed, > 0.

    Raises:
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        soft_share: float | int = 0.3,
        target_temperature: float | int = 0.1,
        temperature: float | int = 0.07,
        learn_temperature: bool = True,
        min_temperature: float | int = 0.01,
    ) -> None:
        super().__init__()
        check_range("soft_share", soft_share, 0.0, 1.0, "0 = the pair alone, 1 = the softened target alone")
        check_range("target_temperature", target_temperature, 1e-3, 100.0, "similarities in [0, 1] are divided by it")
        self.soft_share = float(soft_share)
        self.target_temperature = float(target_temperature)
        self.logit_scale = LogitScale(temperature, min_temperature).requires_grad_(learn_temperature)

    def forward(
        self,
        similarity: Float[Tensor, "B B"],
        positives: Bool[Tensor, "B B"],
        progress: float | int = 1.0,
        *,
        context: PairContext,
    ) -> LossTerms:
        """Measure the batch; ``progress`` changes nothing here (B = pairs of the batch)."""
        scale = self.logit_scale()
        loss = soft_label_loss(
            similarity,
            positives,
            tfidf_overlap(context.token_ids, context.token_mask),
            scale,
            soft_share=self.soft_share,
            target_temperature=self.target_temperature,
        )
        return LossTerms(loss, {"soft_label": loss.detach()}, {"temperature": temperature_of(scale)})

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Loss when all scores are equal: log(B), whatever the targets."""
        return math.log(len(positives))
