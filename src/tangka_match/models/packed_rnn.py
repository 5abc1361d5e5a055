"""A recurrent network that stops at the end of every caption."""

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tangka_match.errors import ShapeError


def run_packed(
    rnn: nn.GRU | nn.LSTM, inputs: Float[Tensor, "C T E"], token_mask: Bool[Tensor, "C T"]
) -> Float[Tensor, "C T H"]:
    """Run a batch-first ``nn.GRU`` or ``nn.LSTM`` over the real tokens of captions in any order.

    The backward direction starts at the last real token, so padding changes nothing. ``E`` are the components of the
    input, ``H`` those of the output (both directions one after the other).

    Raises:
        ShapeError: A caption has no real token.
    """
    lengths = token_mask.sum(dim=1).cpu()
    if (lengths == 0).any():
        row = int((lengths == 0).nonzero()[0])
        raise ShapeError(
            f"caption {row} of this batch has 0 real tokens; at least 1 is needed (<start> and <end> count)"
        )
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    outputs, _ = pad_packed_sequence(rnn(packed)[0], batch_first=True, total_length=token_mask.shape[1])
    return outputs
