"""InfoNCE with soft labels: captions with similar words share in the target."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from tangka_match.losses.base import ContextualLoss, LossInputs, LossTerms
from tangka_match.losses.components import LogitScale, check_pairs, check_range, required_context, temperature_of
from tangka_match.losses.multi_positive_info_nce import even_shares
from tangka_match.ops import at_least_float32, tfidf_overlap


def soft_label_loss(
    similarity: Float[Tensor, "B B"],
    positives: Bool[Tensor, "B B"],
    overlap: Float[Tensor, "B B"],
    logit_scale: Float[Tensor, ""] | float | int,
    *,
    soft_share: float | int,
    target_temperature: float | int,
) -> Float[Tensor, ""]:
    r"""Compute the cross entropy between scores and soft targets, over rows and columns.

    The target of row b is :math:`(1 - w)\, p_b / |p_b| + w\, \text{softmax}_c(o_{bc} / \tau)`: the positives
    :math:`p_b` share one part evenly; the other part is spread over all captions by their similarity :math:`o` to
    caption b, which is set to 1 for positives. Targets of columns are computed from the transposed matrices.

    Source: Huang et al., "Cross-Modal and Uni-Modal Soft-Label Alignment for Image-Text Retrieval" (CUSA),
    arXiv:2403.05261, where pretrained encoders provide the similarity; here it is the tf-idf cosine of the captions
    (`tfidf_overlap`).

    Args:
        similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal; half precision is computed
            in float32.
        positives: (B, B), ``True`` where row and column belong together; ``True`` on the diagonal.
        overlap: Similarity of captions, (B, B), in [0, 1].
        logit_scale: Multiplier of the scores, ``1 / temperature``, > 0.
        soft_share: Share ``w`` of the soft part of the target, in [0, 1].
        target_temperature: ``tau``, > 0; low values restrict the soft part to captions as similar as the pair itself.

    Returns:
        The loss in nats, a scalar; at least the entropy of the targets, and ``log(B)`` if all scores are equal.

    Raises:
        ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.
    """
    check_pairs(similarity, positives)
    logits = at_least_float32(similarity) * logit_scale
    alike = overlap.to(logits.dtype).masked_fill(positives, 1.0) / target_temperature
    directions = ((logits, positives, alike), (logits.T, positives.T, alike.T))
    losses = [
        cross_entropy(scores, torch.lerp(even_shares(marks, logits.dtype), near.softmax(dim=1), soft_share))
        for scores, marks, near in directions
    ]
    return (losses[0] + losses[1]) / 2


class SoftLabelLoss(ContextualLoss):
    """InfoNCE with targets softened by the words that captions share; see `soft_label_loss`.

    Relations:
        Same as `MultiPositiveInfoNCELoss` with ``soft_share=0``.

    Args:
        soft_share: Share of the soft part of the target, in [0, 1].
        target_temperature: Divisor of the caption similarities before the softmax, in [0.001, 100].
        temperature: Divisor of the scores; the start value if it is learnt.
        learn_temperature: Whether to learn the temperature.
        min_temperature: Lowest temperature, > 0.

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
        check_range("soft_share", soft_share, 0.0, 1.0, "0 = positives only, 1 = soft part only")
        check_range("target_temperature", target_temperature, 1e-3, 100.0, "similarities in [0, 1] are divided by it")
        self.soft_share = float(soft_share)
        self.target_temperature = float(target_temperature)
        self.logit_scale = LogitScale(temperature, min_temperature).requires_grad_(learn_temperature)

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch; reads the captions in the context."""
        context = required_context(self, inputs)
        scale = self.logit_scale()
        loss = soft_label_loss(
            inputs.similarity,
            inputs.positives,
            tfidf_overlap(context.token_ids, context.token_mask),
            scale,
            soft_share=self.soft_share,
            target_temperature=self.target_temperature,
        )
        return LossTerms(loss, {"soft_label": loss.detach()}, {"temperature": temperature_of(scale)})
