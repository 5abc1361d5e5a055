"""Similarity attention filtration, the SAF of SGRAF (equations 8 and 9)."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.models.masked_batch_norm import CaptionBatchNorm
from tangka_match.ops import l2_normalise


class SimilarityAttentionFiltration(nn.Module):
    """Weighted mean of the similarity vectors of an image and a caption, so that meaningless words count less.

    A vector's weight is the sigmoid of its batch-normalised linear score, divided by the sum over the pair's vectors.
    The attributes are named as in the published weights.

    Args:
        sim_dim: Dimensions of a similarity vector.
    """

    def __init__(self, sim_dim: int) -> None:
        super().__init__()
        self.attn_sim_w = nn.Linear(sim_dim, 1)
        self.bn = CaptionBatchNorm()
        xavier_linears_(self)

    def forward(self, nodes: Float[Tensor, "I C Q S"], mask: Bool[Tensor, "C Q"]) -> Float[Tensor, "I C S"]:
        """Pool the real ones of a pair's ``Q`` vectors into one L2-normalised vector of ``S`` = ``sim_dim``."""
        scores = self.bn(self.attn_sim_w(nodes).squeeze(3), mask).sigmoid().masked_fill(~mask, 0)
        weights = scores / (scores.sum(dim=2, keepdim=True) + 1e-8)
        return l2_normalise((weights[:, :, None, :] @ nodes).squeeze(2))
