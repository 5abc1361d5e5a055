import pytest
import torch

from tangka_match.errors import ConfigError
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.retrieval.corrections import CORRECTIONS, BankScores, CorrectionSettings, corrector
from tangka_match.retrieval.hubness import nnn, qb_norm, sinkhorn

SETTINGS = CorrectionSettings(nnn_k=2, candidates=3)
EVERYTHING = (torch.arange(6), torch.arange(6))


def with_a_hub(seed=0):
    """Six pairs a query of which would find its answer, were it not for answer 0, which is close to everything."""
    generator = torch.Generator().manual_seed(seed)
    scores = 0.2 * torch.rand(6, 6, generator=generator) + torch.eye(6) * 0.3
    bank = 0.2 * torch.rand(8, 6, generator=generator)
    scores[:, 0] += 0.55
    bank[:, 0] += 0.55
    return scores, bank


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_hub_is_pushed_back(name):
    scores, bank = with_a_hub()
    assert retrieval_ranks(scores, torch.arange(6)).i2t.tolist() == [1, 2, 2, 2, 2, 2]
    correct = corrector(name, SETTINGS, BankScores(bank, bank.T))
    i2t, t2i = correct(scores, *EVERYTHING)
    assert i2t.shape == t2i.shape == (6, 6)
    assert (retrieval_ranks(i2t, torch.arange(6)).i2t == 1).all()
    _, t2i = correct(scores.T, *EVERYTHING)
    assert (retrieval_ranks(t2i, torch.arange(6)).t2i == 1).all()


@pytest.mark.parametrize("name", CORRECTIONS)
@pytest.mark.parametrize("score", [0.0, 0.5, -1.0])
def test_a_collapsed_model_stays_at_chance(name, score):
    flat, owners = torch.full((5, 10), score), torch.arange(10) // 2
    bank = BankScores(torch.full((8, 10), score), torch.full((5, 8), score))
    i2t, t2i = corrector(name, SETTINGS, bank)(flat, torch.arange(5), torch.arange(10))
    for scores in (i2t, t2i):
        figures = summarise(retrieval_ranks(scores, owners))
        assert figures["i2t_r1"] <= 20
        assert figures["t2i_r1"] <= 20


@pytest.mark.parametrize("name", CORRECTIONS)
def test_a_gallery_sees_its_own_part_of_the_bank(name):
    generator = torch.Generator().manual_seed(1)
    scores = torch.rand(6, 8, generator=generator)
    bank = BankScores(torch.rand(9, 8, generator=generator), torch.rand(6, 9, generator=generator))
    images, captions = torch.tensor([1, 4, 5]), torch.tensor([0, 2, 7])
    part = scores[images][:, captions]
    found = corrector(name, SETTINGS, bank)(part, images, captions)
    alone = BankScores(bank.i2t[:, captions], bank.t2i[images])
    expected = corrector(name, SETTINGS, alone)(part, torch.arange(3), torch.arange(3))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_qb_norm_leaves_queries_alone_whose_answer_is_no_hub():
    scores = torch.tensor([[0.9, 0.8, 0.1], [0.1, 0.2, 0.9]])
    corrected = qb_norm(scores, torch.tensor([[0.9, 0.1, 0.2]]), beta=20.0)
    assert torch.equal(corrected[1], scores[1].double())
    assert corrected[0].argmax() == 1


def test_sinkhorn_balances_rows_and_columns():
    plan = sinkhorn(torch.rand(4, 6, generator=torch.Generator().manual_seed(0)), beta=5.0, iterations=100).exp()
    torch.testing.assert_close(plan.sum(0), torch.full((6,), 1 / 6, dtype=torch.float64))
    torch.testing.assert_close(plan.sum(1), torch.full((4,), 1 / 4, dtype=torch.float64), atol=1e-6, rtol=0)


def test_high_beta_does_not_overflow():
    scores, bank = with_a_hub()
    for name in CORRECTIONS:
        i2t, t2i = corrector(name, CorrectionSettings(beta=1e4, nnn_k=2), BankScores(bank, bank.T))(scores, *EVERYTHING)
        assert i2t.isfinite().all()
        assert t2i.isfinite().all()


def test_a_bank_smaller_than_k():
    with pytest.raises(ConfigError, match=r"correction.nnn_k=3, but the bank holds 2 queries"):
        nnn(torch.rand(2, 2), torch.rand(2, 2), alpha=0.5, k=3)


@pytest.mark.parametrize(("name", "value"), [("beta", 0.0), ("candidates", 0), ("nnn_alpha", -1.0)])
def test_settings_out_of_range(name, value):
    with pytest.raises(ConfigError, match=rf"correction\.{name}={value}; it must be above 0"):
        CorrectionSettings(**{name: value})
