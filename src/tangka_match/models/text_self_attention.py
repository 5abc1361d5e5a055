"""One vector a caption, by words that are compared with their mean (SGRAF, equations 1 and 2)."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.ops import attention_pool, l2_normalise, masked_mean


class TextSelfAttention(nn.Module):
    """Weighted mean of the words: ``VisualSelfAttention`` without batch norm.

    The attributes are named as in the published weights.

    Args:
        embed_dim: Dimensions of the joint space.
        dropout: Probability to drop a component of a branch.
    """

    def __init__(self, embed_dim: int, dropout: float | int) -> None:
        super().__init__()
        self.embedding_local = nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.Tanh(), nn.Dropout(dropout))
        self.embedding_global = nn.Sequential(nn.Linear(embed_dim, embed_dim), nn.Tanh(), nn.Dropout(dropout))
        self.embedding_common = nn.Sequential(nn.Linear(embed_dim, 1))
        xavier_linears_(self)

    def forward(self, words: Float[Tensor, "C T D"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "C D"]:
        """Pool the real words of every caption into one L2-normalised vector."""
        local_branch = self.embedding_local(words)
        global_branch = self.embedding_global(masked_mean(words, token_mask))
        logits = self.embedding_common(local_branch * global_branch[:, None, :]).squeeze(2)
        return l2_normalise(attention_pool(words, logits, token_mask))
