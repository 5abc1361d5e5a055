import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.errors import ConfigError
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.retrieval.fusion import FUSIONS, on_common_scale, rank_scores, select_weights, weighted_mean


def scores(seed, levels=1000):
    return torch.randint(0, levels, (6, 6), generator=torch.Generator().manual_seed(seed)).float() / levels


@given(st.integers(0, 2**31), st.sampled_from([3, 1000]))
def test_rank_scores_keep_the_order_at_any_scale(seed, levels):
    raw, owners = scores(seed, levels), torch.arange(6)
    for changed in (raw, raw * 100 - 7, raw.double().exp()):
        before, after = retrieval_ranks(raw, owners), retrieval_ranks(rank_scores(changed), owners)
        assert torch.equal(before.i2t, after.i2t)
        assert torch.equal(before.t2i, after.t2i)


def test_rank_scores_of_other_values():
    placed = rank_scores(torch.tensor([[0.1, 0.5], [0.3, 0.9]]), torch.tensor([[0.9, 0.4, 0.0]]))
    torch.testing.assert_close((-placed).exp(), torch.tensor([[1.0, 3.0, 5.0]]))


def test_rank_scores_keep_nan():
    raw = scores(0)
    raw[2, 3] = float("nan")
    assert rank_scores(raw).isnan().nonzero().tolist() == [[2, 3]]


def rsum(scores, owners):
    return summarise(retrieval_ranks(scores, owners))["rsum"]


@pytest.mark.parametrize("fusion", FUSIONS)
@given(seed=st.integers(0, 2**31))
def test_others_are_scaled_like_the_split(fusion, seed):
    """A score has the same place on the common scale wherever it stands."""
    raw = scores(seed)
    whole, part = on_common_scale(raw, [raw[:2]], fusion)
    torch.testing.assert_close(part, whole[:2])


def test_scores_do_not_depend_on_their_unit():
    raw = scores(1)
    for fusion in ("standardised", "rank"):
        (plain,), (scaled,) = on_common_scale(raw, [], fusion), on_common_scale(100 * raw, [], fusion)
        torch.testing.assert_close(scaled, plain)


@pytest.mark.parametrize("value", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_collapsed_model_does_not_drown_the_others(value, noise):
    """The standard deviation of its scores is rounding only: divided by it, they would decide every rank."""
    raw, owners = scores(3), torch.arange(6)
    collapsed = value * (1 + noise * scores(4))
    (good,), (flat,) = on_common_scale(raw, [], "standardised"), on_common_scale(collapsed, [], "standardised")
    alone, fused = retrieval_ranks(raw, owners), retrieval_ranks(weighted_mean([good, flat], None), owners)
    assert torch.equal(alone.i2t, fused.i2t)
    assert torch.equal(alone.t2i, fused.t2i)


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [2.0, -1.0], [1.0, 1.0, 1.0]])
def test_exception_weights_that_do_not_fit(weights):
    with pytest.raises(ConfigError, match=r"weights=\[.*\] of 2 models: give one >= 0 for each, not all of them 0"):
        weighted_mean([scores(0), scores(1)], weights)


def test_unknown_fusion_is_refused():
    with pytest.raises(ConfigError, match=r"fusion='median': allowed are mean, standardised, rank"):
        on_common_scale(scores(0), [], "median")


@given(seed=st.integers(0, 2**31), factor=st.floats(0.1, 10.0))
def test_equal_weights_give_the_mean(seed, factor):
    both = [scores(seed), scores(seed + 1)]
    torch.testing.assert_close(weighted_mean(both, [factor, factor]), weighted_mean(both, None))
    torch.testing.assert_close(weighted_mean(both, [0.0, factor]), both[1])


@given(seed=st.integers(0, 2**31), models=st.integers(1, 4))
@settings(deadline=None, max_examples=25)
def test_selected_weights_are_not_below_the_best_model(seed, models):
    generator = torch.Generator().manual_seed(seed)
    owners = torch.arange(24) // 2
    truth = torch.nn.functional.one_hot(owners, 12).T.float()
    parts = [truth + torch.randn(12, 24, generator=generator) for _ in range(models)]
    weights = select_weights(parts, owners)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert rsum(weighted_mean(parts, weights), owners) >= max(rsum(part, owners) for part in parts)


def test_models_that_complement_each_other_share_the_weight():
    """Each model knows one half of the pairs and scores the others alike; only their mean ranks all first."""
    first, second = torch.eye(20), torch.eye(20)
    first[:10, :10], second[10:, 10:] = 0.5, 0.5
    useless = torch.zeros(20, 20)
    weights = select_weights([first, useless, second], torch.arange(20))
    assert weights == [0.5, 0.0, 0.5]
