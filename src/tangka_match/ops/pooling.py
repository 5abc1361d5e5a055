"""From a sequence of vectors to one vector."""

from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.ops.masking import masked_softmax


def attention_pool(
    x: Float[Tensor, "N L D"], logits: Float[Tensor, "N L"], mask: Bool[Tensor, "N L"]
) -> Float[Tensor, "N D"]:
    """Mean of the real positions, each weighted by the softmax of its logit.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[1.0], [3.0], [99.0]]])
        >>> attention_pool(x, torch.zeros(1, 3), torch.tensor([[True, True, False]]))
        tensor([[2.]])
    """
    weights = masked_softmax(logits, mask)
    return (weights[:, None, :] @ x.masked_fill(~mask[:, :, None], 0).to(weights.dtype)).squeeze(1)
