"""Alignment and uniformity of pooled embeddings on the hypersphere."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.losses.base import ContextualLoss, LossInputs, LossTerms
from tangka_match.losses.components import check_pairs, check_range, pooled_embeddings, required_context
from tangka_match.ops import dot_products


def alignment_loss(images: Float[Tensor, "B D"], texts: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    r"""Compute the mean squared distance of matching pairs, :math:`\mathbb{E}\lVert x_b - y_b \rVert^2`.

    Source: Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", arXiv:2005.10242, eq. 2 with :math:`\alpha = 2`.

    Args:
        images: L2-normalised embeddings.
        texts: L2-normalised embeddings; row b matches row b of ``images``.

    Returns:
        A scalar in [0, 4].

    Example:
        >>> alignment_loss(torch.eye(2), torch.eye(2).flip(0))
        tensor(2.)
    """
    return (images - texts).square().sum(dim=1).mean()


def uniformity_loss(
    vectors: Float[Tensor, "B D"], positives: Bool[Tensor, "B B"], spread: float | int
) -> Float[Tensor, ""]:
    r"""Compute the log of the mean Gaussian potential, :math:`\log \mathbb{E}\, e^{-t \lVert x_b - x_c \rVert^2}`.

    The mean is over all pairs of rows that do not belong together.

    Source: the paper cited in `alignment_loss`, eq. 3.

    Args:
        vectors: L2-normalised embeddings of one modality.
        positives: (B, B), symmetric, ``True`` where two rows belong together.
        spread: ``t``, > 0; 2 in the paper.

    Returns:
        A scalar in [-4t, 0]; 0 if all embeddings are equal or all rows belong together.

    Example:
        >>> uniformity_loss(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.eye(2, dtype=torch.bool), 2.0)
        tensor(-8.)
    """
    others = (~positives).triu(1)
    has_others = others.any()  # stays on its device
    dots = dot_products(vectors, vectors)
    lengths = dots.diagonal()
    squared = (lengths[:, None] + lengths[None, :] - 2 * dots).clamp(min=0)
    potentials = (-spread * squared).masked_fill(~others, float("-inf")).masked_fill(~has_others, 0.0)
    return (potentials.flatten().logsumexp(dim=0) - others.sum().clamp(min=1).log()).masked_fill(~has_others, 0.0)


class AlignmentUniformityLoss(ContextualLoss):
    r"""Alignment of pairs plus uniformity of each modality, on pooled embeddings.

    .. math:: L = w_a L_\text{align} + \frac{w_u}{2} \left[ L_\text{uniform}(\text{images}) +
              L_\text{uniform}(\text{texts}) \right]

    Source: arXiv:2005.10242, eq. 2 to 5.

    Requirements:
        A matcher with pooled embeddings.

    Recommendations:
        Use it as a regulariser next to a loss on scores (``loss=blend``): parameters that only scores depend on, such
        as word-region attention, get no gradient from it.

    Args:
        alignment_weight: Weight of `alignment_loss`, >= 0.
        uniformity_weight: Weight of `uniformity_loss`, >= 0; the two weights may not both be 0.
        spread: ``t`` of `uniformity_loss`, in [0.01, 100].

    Raises:
        ConfigError: If a setting is out of range, or, when called, if the model has no pooled embeddings.
    """

    needs_pooled = True
    reads_scores = False

    def __init__(
        self,
        alignment_weight: float | int = 1.0,
        uniformity_weight: float | int = 1.0,
        spread: float | int = 2.0,
    ) -> None:
        super().__init__()
        for name, weight in (("alignment_weight", alignment_weight), ("uniformity_weight", uniformity_weight)):
            check_range(name, weight, 0.0, float("inf"), "a negative weight would reward errors")
        if alignment_weight == 0 and uniformity_weight == 0:
            raise ConfigError(
                "alignment_weight=0 and uniformity_weight=0: nothing would be learnt; make one of them positive"
            )
        check_range("spread", spread, 0.01, 100.0, "2 is usual")
        self.weights = {"alignment": float(alignment_weight), "uniformity": float(uniformity_weight)}
        self.spread = float(spread)

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch; reads the pooled embeddings in the context, not the scores."""
        check_pairs(inputs.similarity, inputs.positives)
        context = required_context(self, inputs)
        images, texts = pooled_embeddings(self, context.images, context.texts)
        uniformity = [uniformity_loss(vectors, inputs.positives, self.spread) for vectors in (images, texts)]
        terms = {"alignment": alignment_loss(images, texts), "uniformity": torch.stack(uniformity).mean()}
        weighted = {name: self.weights[name] * term for name, term in terms.items()}
        return LossTerms(
            weighted["alignment"] + weighted["uniformity"],
            {name: term.detach() for name, term in terms.items()},
            {},
            {name: part for name, part in weighted.items() if self.weights[name] > 0},
        )

    def collapse_value(self, inputs: LossInputs) -> float:
        """Return the loss of equal embeddings: 0."""
        return 0.0
