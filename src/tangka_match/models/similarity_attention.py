"""Similarity attention filtration, the SAF of SGRAF (equations 8 and 9)."""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.models.masked_batch_norm import CaptionBatchNorm
from tangka_match.ops import LengthGroups, at_least_float32, l2_normalise


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

    def forward(
        self, groups: LengthGroups, nodes: Sequence[Float[Tensor, "I _c _q S"]], mask: Bool[Tensor, "C Q"]
    ) -> list[Float[Tensor, "I _c S"]]:
        """Pool the ``_q`` vectors of each pair into one L2-normalised vector of ``S`` = ``sim_dim``.

        Args:
            groups: Which captions belong together.
            nodes: The vectors of the captions of each group, all of them real.
            mask: ``True`` where a caption, in the order of the batch, has a vector; batch norm takes its statistics
                from all of them.
        """
        longest = mask.shape[1]
        logits = [self.attn_sim_w(group).squeeze(3) for group in nodes]
        padded = groups.restore([functional.pad(group, (0, longest - group.shape[2])) for group in logits])
        shares = at_least_float32(self.bn(padded, mask)).sigmoid()
        pooled = []
        for columns, group in zip(groups.columns, nodes, strict=True):
            weights = shares[:, columns, : group.shape[2]]
            weights = weights / (weights.sum(dim=2, keepdim=True) + 1e-8)
            pooled.append(l2_normalise((weights.to(group.dtype)[:, :, None, :] @ group).squeeze(2)))
        return pooled
