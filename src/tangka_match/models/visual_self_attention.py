"""One vector an image, by regions that are compared with their mean (SGRAF, equations 1 and 2)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.models.masked_batch_norm import ItemBatchNorm, RegionSlotBatchNorm
from tangka_match.ops import attention_pool, l2_normalise, masked_mean


class VisualSelfAttention(nn.Module):
    """Weighted mean of the regions; a region weighs more the better it agrees with the mean of all.

    A local and a global branch (linear, batch norm, tanh, dropout) are multiplied and scored by one linear layer;
    the softmax of the scores weighs the regions. The attributes are named as in the published weights.

    Args:
        embed_dim: Dimensions of the joint space.
        num_regions: Most regions an image may have (batch norm keeps statistics of each).
        dropout: Probability to drop a component of a branch.
    """

    def __init__(self, embed_dim: int, num_regions: int, dropout: float | int) -> None:
        super().__init__()
        self.embedding_local = nn.ModuleList([nn.Linear(embed_dim, embed_dim), RegionSlotBatchNorm(num_regions)])
        self.embedding_global = nn.Sequential(
            nn.Linear(embed_dim, embed_dim), ItemBatchNorm(embed_dim), nn.Tanh(), nn.Dropout(dropout)
        )
        self.embedding_common = nn.Sequential(nn.Linear(embed_dim, 1))
        self.dropout = nn.Dropout(dropout)
        xavier_linears_(self)

    def forward(self, regions: Float[Tensor, "I R D"], region_mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I D"]:
        """Pool the real regions of every image into one L2-normalised vector."""
        linear, norm = self.embedding_local
        local_branch = self.dropout(torch.tanh(norm(linear(regions), region_mask)))
        global_branch = self.embedding_global(masked_mean(regions, region_mask))
        logits = self.embedding_common(local_branch * global_branch[:, None, :]).squeeze(2)
        return l2_normalise(attention_pool(regions, logits, region_mask))
