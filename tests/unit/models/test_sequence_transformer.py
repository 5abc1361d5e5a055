import pytest
import torch

from tangka_match.models.sequence_transformer import SequenceTransformer


def encoder(*, positions):
    torch.manual_seed(0)
    return SequenceTransformer(5, 8, num_heads=2, num_layers=2, dropout=0.0, positions=positions).eval()


@pytest.mark.parametrize("positions", [False, True])
def test_order_counts_only_with_positions(positions):
    x, mask = torch.randn(1, 6, 5), torch.ones(1, 6, dtype=torch.bool)
    turned = encoder(positions=positions)(x.flip(1), mask).flip(1)
    close = torch.allclose(turned, encoder(positions=positions)(x, mask), atol=1e-5)
    assert close is not positions


def test_what_is_masked_becomes_zero():
    mask = torch.tensor([[True, True, False], [False, False, False]])
    states = encoder(positions=False)(torch.randn(2, 3, 5), mask)
    assert states[mask].abs().min() > 0
    assert not states[~mask].any()
