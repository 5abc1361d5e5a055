import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.models.pooling import GeneralisedPooling
from tangka_match.ops import sinusoidal_positions


def naive(pooling, values):
    """Compute equations 4 to 6 of the paper for the real positions of one sequence, with torch's GRU."""
    codes = sinusoidal_positions(len(values), 6).to(values.dtype)
    forward_states, backward_states = pooling.rank_rnn(codes[None])[0][0].chunk(2, dim=1)
    weights = torch.softmax(pooling.score((forward_states + backward_states) / 2).squeeze(1) / 0.1, dim=0)
    return sum(weight * rank for weight, rank in zip(weights, values.sort(dim=0, descending=True).values, strict=True))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), items=st.integers(1, 5), length=st.integers(1, 9))
def test_gpo_equals_a_loop_over_items(seed, items, length):
    torch.manual_seed(seed)
    pooling = GeneralisedPooling(6, 4).double()
    x = torch.randn(items, length, 3, dtype=torch.float64, requires_grad=True)
    mask = torch.rand(items, length) < 0.7
    mask[:, torch.randint(length, ())] = True
    found = pooling(x, mask)
    expected = torch.stack([naive(pooling, values[real]) for values, real in zip(x, mask, strict=True)])
    torch.testing.assert_close(found, expected)
    direction = torch.randn_like(found)
    parameters = [x, *pooling.parameters()]
    for ours, theirs in zip(
        torch.autograd.grad((found * direction).sum(), parameters),
        torch.autograd.grad((expected * direction).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_gpo_with_equal_scores_is_the_mean():
    pooling = GeneralisedPooling()
    torch.nn.init.zeros_(pooling.score.weight)
    x = torch.tensor([[[1.0], [5.0], [3.0]], [[7.0], [8.0], [9.0]]])
    mask = torch.tensor([[True, False, True], [False, False, False]])
    assert pooling(x, mask).squeeze(1).tolist() == pytest.approx([2.0, 0.0])


def test_gpo_of_a_long_sequence():
    pooling, x = GeneralisedPooling(), torch.randn(1, 300, 2)
    pooling(x[:, :5], torch.ones(1, 5, dtype=torch.bool))
    pooled = pooling(x, torch.ones(1, 300, dtype=torch.bool))
    assert (pooled <= x.amax(dim=1)).all()
    assert (pooled >= x.amin(dim=1)).all()
    assert pooling.weights((300, 2)).sum(dim=1).tolist() == pytest.approx([1, 1])
