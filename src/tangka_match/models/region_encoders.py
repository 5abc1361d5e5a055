"""Region encoders, which map region features to the joint space.

Axes: I images, R regions, F features, D joint space.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.layers import MaskedBatchNorm, xavier_linears_
from tangka_match.ops import l2_normalise


class RegionMLP(nn.Module):
    """Sum of a linear layer and a two-layer perceptron, applied to each region: the image encoder of VSE∞.

    Chen et al., arXiv 2011.04305. As in the published code, batch norm stands between the first linear layer of the
    perceptron and its ReLU. Its statistics cover the real regions of a batch; padding is left out.

    Args:
        feature_dim: Dimensions of a region feature.
        embed_dim: Dimensions of the joint space; the perceptron has half as many hidden units.
        dropout: Probability to drop a hidden unit; 0 as published.
        batch_norm: Whether the perceptron contains batch norm.
    """

    def __init__(self, feature_dim: int, embed_dim: int, dropout: float | int, *, batch_norm: bool) -> None:
        super().__init__()
        hidden_dim = max(embed_dim // 2, 1)
        self.fc = nn.Linear(feature_dim, embed_dim)
        self.mlp = nn.Sequential(
            nn.Linear(feature_dim, hidden_dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_dim, embed_dim)
        )
        self.norm = MaskedBatchNorm(hidden_dim) if batch_norm else None
        xavier_linears_(self)

    def forward(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I R D"]:
        """Embed the real regions; masked regions become zero."""
        hidden = self.mlp[0](regions)
        if self.norm is not None:
            hidden = self._normalise(hidden, region_mask)
        return (self.fc(regions) + self.mlp[1:](hidden)).masked_fill(~region_mask[:, :, None], 0)

    def _normalise(self, hidden: Float[Tensor, "I R H"], region_mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I R H"]:
        if isinstance(self.norm, nn.SyncBatchNorm):  # trainer.sync_batchnorm replaced it; it takes real regions only
            return hidden.masked_scatter(region_mask[:, :, None], self.norm(hidden[region_mask]))
        assert self.norm is not None
        return self.norm(hidden, region_mask)


class RegionProjection(nn.Module):
    """Linear layer on each region, then L2 normalisation: the image encoder of SCAN and SGRAF.

    Args:
        feature_dim: Dimensions of a region feature.
        embed_dim: Dimensions of the joint space.
        normalise: Whether to L2-normalise the regions.
    """

    def __init__(self, feature_dim: int, embed_dim: int, normalise: bool) -> None:
        super().__init__()
        self.normalise = normalise
        self.fc = nn.Linear(feature_dim, embed_dim)
        xavier_linears_(self)

    def forward(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I R D"]:
        """Embed the real regions; masked regions become zero."""
        embedded = self.fc(regions).masked_fill(~region_mask[:, :, None], 0)
        return l2_normalise(embedded) if self.normalise else embedded
