import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.retrieval.corrections import CORRECTIONS, BankScores, CorrectionSettings, corrector
from tangka_match.retrieval.hubness import k_reciprocal, nnn, qb_norm, sinkhorn

SETTINGS = CorrectionSettings(nnn_k=2, candidates=3)
ALL_ROWS = (torch.arange(6), torch.arange(6))


def scores_with_hub(seed=0):
    """Return scores of six pairs, where every query ranks its answer first except for the hub, answer 0."""
    generator = torch.Generator().manual_seed(seed)
    scores = 0.2 * torch.rand(6, 6, generator=generator) + torch.eye(6) * 0.3
    bank = 0.2 * torch.rand(8, 6, generator=generator)
    scores[:, 0] += 0.55
    bank[:, 0] += 0.55
    return scores, bank


@pytest.mark.parametrize("name", CORRECTIONS)
def test_hub_is_demoted(name):
    scores, bank = scores_with_hub()
    assert retrieval_ranks(scores, torch.arange(6)).i2t.tolist() == [1, 2, 2, 2, 2, 2]
    correct = corrector(name, SETTINGS, BankScores(bank, bank.T))
    i2t, t2i = correct(scores, *ALL_ROWS)
    assert i2t.shape == t2i.shape == (6, 6)
    assert (retrieval_ranks(i2t, torch.arange(6)).i2t == 1).all()
    _, t2i = correct(scores.T, *ALL_ROWS)
    assert (retrieval_ranks(t2i, torch.arange(6)).t2i == 1).all()


@pytest.mark.parametrize("name", CORRECTIONS)
@pytest.mark.parametrize("score", [0.0, 0.5, -1.0])
def test_collapsed_model_stays_at_chance(name, score):
    flat, owners = torch.full((5, 10), score), torch.arange(10) // 2
    bank = BankScores(torch.full((8, 10), score), torch.full((5, 8), score))
    i2t, t2i = corrector(name, SETTINGS, bank)(flat, torch.arange(5), torch.arange(10))
    for scores in (i2t, t2i):
        metrics = summarise(retrieval_ranks(scores, owners))
        assert metrics["i2t_r1"] <= 20
        assert metrics["t2i_r1"] <= 20


@pytest.mark.parametrize("name", CORRECTIONS)
def test_each_gallery_uses_its_own_bank_scores(name):
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(6, 8, generator=generator)
    bank = BankScores(torch.rand(9, 8, generator=generator), torch.rand(6, 9, generator=generator))
    images, captions = torch.tensor([1, 4, 5]), torch.tensor([0, 2, 7])
    part = scores[images][:, captions]
    found = corrector(name, SETTINGS, bank)(part, images, captions)
    alone = BankScores(bank.i2t[:, captions], bank.t2i[images])
    expected = corrector(name, SETTINGS, alone)(part, torch.arange(3), torch.arange(3))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_qb_norm_keeps_scores_of_queries_without_hub():
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.2, 0.9]])
    corrected = qb_norm(scores, torch.tensor([[0.9, 0.1, 0.2]]), beta=20.0)
    assert torch.equal(corrected[1], scores[1].double())
    assert corrected[0].argmax() == 1


def test_sinkhorn_balances_rows_and_columns():
    plan = sinkhorn(torch.rand(4, 6, generator=torch.Generator().manual_seed(0)), beta=5.0, iterations=100).exp()
    torch.testing.assert_close(plan.sum(0), torch.full((6,), 1 / 6, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(1), torch.full((4,), 1 / 4, dtype=torch.float64), atol=1e-6, rtol=0)


def test_large_beta_does_not_overflow():
    scores, bank = scores_with_hub()
    for name in CORRECTIONS:
        i2t, t2i = corrector(name, CorrectionSettings(beta=1e4, nnn_k=2), BankScores(bank, bank.T))(scores, *ALL_ROWS)
        assert i2t.isfinite().all()
        assert t2i.isfinite().all()


def test_nnn_clips_k_to_the_bank():
    scores, bank = scores_with_hub()
    assert torch.equal(nnn(scores, bank, alpha=0.5, k=9), nnn(scores, bank, alpha=0.5, k=8))


@pytest.mark.parametrize("excess", [0, 1, 100])
def test_qb_norm_and_k_reciprocal_clip_k_to_the_gallery(excess):
    scores, bank = scores_with_hub()
    assert torch.equal(qb_norm(scores, bank, 20.0, top_k=6 + excess), qb_norm(scores, bank, 20.0, top_k=6))
    assert torch.equal(k_reciprocal(scores, 6 + excess), k_reciprocal(scores, 6))


@pytest.mark.parametrize(("name", "value"), [("beta", 0.0), ("candidates", 0), ("nnn_alpha", -1.0)])
def test_settings_out_of_range_are_an_error(name, value):
    with pytest.raises(ConfigError, match=rf"correction\.{name}={value} must be above 0"):
        CorrectionSettings(**{name: value})
