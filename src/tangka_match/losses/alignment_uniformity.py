"""Alignment and uniformity of pooled vectors: pairs close together, everything else spread over the sphere."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.losses.base import LossTerms, check_pairs, check_range
from tangka_match.losses.context import ContextualLoss, PairContext, pooled_vectors
from tangka_match.ops import dot_products


def alignment_loss(images: Float[Tensor, "B D"], texts: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
    r"""Mean squared distance between the two vectors of a pair, :math:`\mathbb{E}\lVert x_b - y_b \rVert^2`.

    Source: Wang & Isola, "Understanding Contrastive Representation Learning through Alignment and Uniformity on the
    Hypersphere", arXiv:2005.10242, eq. 2 with their :math:`\alpha = 2`.

    Args:
        images: L2-normalised vectors.
        texts: L2-normalised vectors; row b belongs to row b of the images.

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
    r"""Logarithm of the mean Gaussian potential, :math:`\log \mathbb{E}\, e^{-t \lVert x_b - x_c \rVert^2}`.

    Two rows that belong together, as one image shown twice, are no pair of the mean.

    Source: as `alignment_loss`, eq. 3.

    Args:
        vectors: L2-normalised vectors of one kind.
        positives: (B, B), symmetric, ``True`` where two rows belong together.
        spread: ``t``, > 0; 2 in the paper.

    Returns:
        A scalar in [-4t, 0]; 0 if all vectors are equal, or if there is no pair to compare.

    Example:
        >>> uniformity_loss(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.eye(2, dtype=torch.bool), 2.0)
        tensor(-8.)
    """
    others = (~positives).triu(1)
    if not bool(others.any()):
        return vectors.sum() * 0.0
    dots = dot_products(vectors, vectors)
    lengths = dots.diagonal()
    squared = (lengths[:, None] + lengths[None, :] - 2 * dots).clamp(min=0)
    potentials = (-spread * squared).masked_fill(~others, float("-inf"))
    return potentials.flatten().logsumexp(dim=0) - others.sum().log()


class AlignmentUniformityLoss(ContextualLoss):
    """Alignment of pairs plus uniformity of images and of captions (the mean of the two); on pooled vectors alone.

    A regulariser beside a loss on the scores (``loss=blend``): scores that come from regions and words get nothing from
    it. Source: arXiv:2005.10242, eq. 2 to 5.

    Args:
        alignment_weight: Weight of `alignment_loss`, >= 0.
        uniformity_weight: Weight of `uniformity_loss`, >= 0; not both may be 0.
        spread: ``t`` of `uniformity_loss`, in [0.01, 100].

    Raises:
        ConfigError: If a setting is out of range, or, when called, if the model has no pooled vectors.
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
            check_range(name, weight, 0.0, float("inf"), "a negative weight would reward mistakes")
        if alignment_weight == 0 and uniformity_weight == 0:
            raise ConfigError("alignment_weight=0 and uniformity_weight=0: nothing would be learnt; raise one of them")
        check_range("spread", spread, 0.01, 100.0, "2 is usual")
        self.weights = {"alignment": float(alignment_weight), "uniformity": float(uniformity_weight)}
        self.spread = float(spread)

    def forward(
        self,
        similarity: Float[Tensor, "B B"],
        positives: Bool[Tensor, "B B"],
        progress: float | int = 1.0,
        *,
        context: PairContext,
    ) -> LossTerms:
        """Measure the batch; scores and ``progress`` change nothing here (B = pairs of the batch)."""
        check_pairs(similarity, positives)
        images, texts = pooled_vectors("AlignmentUniformityLoss", context.images, context.texts)
        spreads = [uniformity_loss(vectors, positives, self.spread) for vectors in (images, texts)]
        terms = {"alignment": alignment_loss(images, texts), "uniformity": torch.stack(spreads).mean()}
        weighted = {name: self.weights[name] * term for name, term in terms.items()}
        return LossTerms(
            weighted["alignment"] + weighted["uniformity"],
            {name: term.detach() for name, term in terms.items()},
            {},
            {name: part for name, part in weighted.items() if self.weights[name] > 0},
        )

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Loss when all vectors are equal: 0."""
        return 0.0
