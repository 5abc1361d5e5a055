"""Region encoders: from region features to the joint space."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.layers import xavier_linears_
from tangka_match.ops import l2_normalise


class RegionMLP(nn.Module):
    """A linear layer plus a two-layer perceptron beside it, on every region.

    Chen et al., arXiv 2011.04305. Their perceptron has batch norm inside; here it has none, so that an
    image's vector depends on no other image, and masked regions on nothing.

    Args:
        feature_dim: Dimensions of a region feature.
        embed_dim: Dimensions of the joint space; half of them are the hidden units.
        dropout: Probability to drop a hidden unit.
    """

    def __init__(self, feature_dim: int, embed_dim: int, dropout: float | int) -> None:
        super().__init__()
        hidden_dim = max(embed_dim // 2, 1)
        self.fc = nn.Linear(feature_dim, embed_dim)
        self.mlp = nn.Sequential(
            nn.Linear(feature_dim, hidden_dim), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden_dim, embed_dim)
        )
        xavier_linears_(self)

    def forward(self, regions: Float[Tensor, "I R F"], region_mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I R D"]:
        """Embed the real regions; the others become zero."""
        return (self.fc(regions) + self.mlp(regions)).masked_fill(~region_mask[:, :, None], 0)


class RegionProjection(nn.Module):
    """One linear layer on every region, then L2 normalisation: SCAN's and SGRAF's image encoder.

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
        """Embed the real regions; the others become zero."""
        embedded = self.fc(regions).masked_fill(~region_mask[:, :, None], 0)
        return l2_normalise(embedded) if self.normalise else embedded
