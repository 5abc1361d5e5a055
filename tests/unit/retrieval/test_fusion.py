import torch
from hypothesis import given
from hypothesis import strategies as st

from tangka_match.metrics import retrieval_ranks
from tangka_match.retrieval.fusion import rank_scores


def scores(seed, levels=1000):
    return torch.randint(0, levels, (6, 6), generator=torch.Generator().manual_seed(seed)).float() / levels


@given(st.integers(0, 2**31), st.sampled_from([3, 1000]))
def test_one_model_ranks_as_before_at_any_scale(seed, levels):
    raw, owners = scores(seed, levels), torch.arange(6)
    for changed in (raw, raw * 100 - 7, raw.double().exp()):
        before, after = retrieval_ranks(raw, owners), retrieval_ranks(rank_scores(changed), owners)
        assert torch.equal(before.i2t, after.i2t)
        assert torch.equal(before.t2i, after.t2i)


def test_values_of_a_bank_are_placed_among_the_scores():
    placed = rank_scores(torch.tensor([[0.1, 0.5], [0.3, 0.9]]), torch.tensor([[0.9, 0.4, 0.0]]))
    torch.testing.assert_close((-placed).exp(), torch.tensor([[1.0, 3.0, 5.0]]))


def test_nan_stays_nan():
    raw = scores(0)
    raw[2, 3] = float("nan")
    assert rank_scores(raw).isnan().nonzero().tolist() == [[2, 3]]
