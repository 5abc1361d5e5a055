import pytest
import torch
from torch import nn

from tangka_match.errors import ShapeError
from tangka_match.models.masked_rnn import run_masked

LENGTHS = [2, 5, 1, 4]  # not sorted


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_equals_the_network_on_each_caption_alone(kind, bidirectional, num_layers):
    torch.manual_seed(0)
    rnn, x = kind(3, 4, num_layers, batch_first=True, bidirectional=bidirectional), torch.randn(4, 6, 3)
    found = run_masked(rnn, x, torch.arange(6) < torch.tensor(LENGTHS)[:, None])
    assert found.shape == (4, 6, 8 if bidirectional else 4)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[row, :length], rnn(x[row, None, :length])[0][0])
        assert (found[row, length:] == 0).all()


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_gradients_equal_those_of_each_caption_alone(kind):
    torch.manual_seed(0)
    rnn = kind(3, 4, 2, batch_first=True, bidirectional=True).double()
    x = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 8, dtype=torch.float64)
    together = (run_masked(rnn, x, torch.arange(6) < torch.tensor(LENGTHS)[:, None]) * weights).sum()
    alone = sum((rnn(x[row, None, :n])[0][0] * weights[:n]).sum() for row, n in enumerate(LENGTHS))
    wanted = [x, *rnn.parameters()]
    torch.testing.assert_close(torch.autograd.grad(together, wanted), torch.autograd.grad(alone, wanted))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_states_stay_float32_in_half_precision(kind):
    torch.manual_seed(0)
    rnn, x = kind(3, 4, batch_first=True, bidirectional=True), torch.randn(4, 6, 3)
    mask = torch.arange(6) < torch.tensor(LENGTHS)[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        half = run_masked(rnn, x, mask)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, run_masked(rnn, x, mask), atol=0.02, rtol=0.02)


def test_padding_gets_no_gradient_and_gives_none():
    rnn, x = nn.LSTM(3, 4, batch_first=True, bidirectional=True), torch.randn(2, 5, 3, requires_grad=True)
    mask = torch.arange(5) < torch.tensor([[3], [5]])
    run_masked(rnn, x, mask).square().sum().backward()
    assert (x.grad[~mask] == 0).all()
    assert (x.grad[mask].abs().sum(dim=1) > 0).all()


def test_caption_without_words():
    mask = torch.tensor([[True, True], [False, False], [False, False]])
    with pytest.raises(ShapeError, match="caption 1 of this batch has 0 real tokens"):
        run_masked(nn.GRU(3, 4, batch_first=True), torch.randn(3, 2, 3), mask)
