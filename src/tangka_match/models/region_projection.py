"""Regions into the joint space, as SGRAF does it."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.ops import l2_normalise


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
