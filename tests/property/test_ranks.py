import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.naive_retrieval import naive_ranks
from tangka_match.metrics import Ranks, retrieval_ranks, summarise

CHECKS = settings(deadline=None, max_examples=60)


@st.composite
def galleries(draw):
    """Draw scores with ties, and images with different numbers of captions in any order."""
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    owners = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    owners = owners[torch.randperm(len(owners), generator=generator)]
    levels = draw(st.integers(1, 50))
    scores = torch.randint(-levels, levels, (len(counts), len(owners)), generator=generator).float() / levels
    return scores, owners, generator


@CHECKS
@given(galleries())
def test_ranks_match_sorting(gallery):
    scores, owners, _ = gallery
    ranks = retrieval_ranks(scores, owners)
    assert (ranks.i2t.tolist(), ranks.t2i.tolist()) == naive_ranks(scores.tolist(), owners.tolist())


@CHECKS
@given(galleries())
def test_order_of_items_does_not_change_ranks_without_ties(gallery):
    scores, owners, generator = gallery
    scores = torch.randperm(scores.numel(), generator=generator).reshape(scores.shape).float()
    images = torch.randperm(scores.shape[0], generator=generator)
    captions = torch.randperm(scores.shape[1], generator=generator)
    before = retrieval_ranks(scores, owners)
    after = retrieval_ranks(scores[images][:, captions], images.argsort()[owners][captions])
    assert torch.equal(after.i2t, before.i2t[images])
    assert torch.equal(after.t2i, before.t2i[captions])


@CHECKS
@given(galleries())
def test_increasing_function_of_scores_does_not_change_ranks(gallery):
    scores, owners, _ = gallery
    before, after = retrieval_ranks(scores, owners), retrieval_ranks(scores.double().exp() * 3 - 100, owners)
    assert torch.equal(before.i2t, after.i2t)
    assert torch.equal(before.t2i, after.t2i)


@CHECKS
@given(galleries(), st.floats(-10, 10))
def test_constant_scores_never_beat_chance(gallery, score):
    scores, owners, _ = gallery
    ranks = retrieval_ranks(torch.full_like(scores, score), owners)
    assert (ranks.i2t == 1).sum() == 1  # the owner of the last caption
    assert torch.equal(ranks.t2i, len(scores) - owners)


@CHECKS
@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_recalls_increase_with_k_and_stay_in_range(i2t, t2i):
    values = summarise(Ranks(torch.tensor(i2t), torch.tensor(t2i)))
    for direction in ("i2t", "t2i"):
        recalls = [values[f"{direction}_r{k}"] for k in (1, 5, 10)]
        assert 0 <= recalls[0] <= recalls[1] <= recalls[2] <= 100
    assert 0 <= values["rsum"] <= 600
    assert values["mean_r1"] <= values["rsum"] / 6 + 1e-9
