import pytest
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.losses import CurriculumLoss, InfoNCELoss
from tangka_match.training import module as training_module
from tangka_match.training.gradient_share import gradient_shares

EYE = torch.eye(4, dtype=torch.bool)


def random_scores():
    return torch.rand(4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()


def test_shares_worked_by_hand():
    """Gradients (3, 4), of norm 5, against (0, -15): a quarter and three quarters, though they point apart."""
    scores = torch.zeros(2, requires_grad=True)
    parts = {"a": 3 * scores[0] + 4 * scores[1], "b": -15 * scores[1]}
    assert gradient_shares(parts, scores) == pytest.approx({"a": 25.0, "b": 75.0})


def test_a_part_that_asks_for_nothing_has_no_share():
    scores = torch.zeros(2, requires_grad=True)
    assert gradient_shares({"a": scores[0], "b": 0 * scores[1]}, scores) == {"a": 100.0, "b": 0.0}
    assert gradient_shares({"a": 0 * scores[0], "b": 0 * scores[1]}, scores) == {"a": 0.0, "b": 0.0}


def test_the_weights_of_the_moment_count():
    scores = random_scores()
    loss = CurriculumLoss(triplet_weight=[0.0, 1.0], info_nce_weight=[1.0, 0.0], begin=0.0, until=1.0)
    start, middle, end = (gradient_shares(loss(scores, EYE, p).weighted, scores) for p in (0.0, 0.5, 1.0))
    assert start == {"triplet": 0.0, "info_nce": 100.0}
    assert end == {"triplet": 100.0, "info_nce": 0.0}
    assert 0 < middle["triplet"] < 100


def test_the_weighted_parts_add_up_to_the_loss():
    terms = CurriculumLoss(triplet_weight=0.3, info_nce_weight=0.7)(random_scores(), EYE, 0.4)
    assert sum(terms.weighted.values()).item() == terms.total.item()
    assert terms.weighted["triplet"].item() == pytest.approx(0.3 * terms.terms["triplet"].item())


@pytest.mark.parametrize("loss", [CurriculumLoss(triplet_weight=0.0), InfoNCELoss()], ids=["one in use", "one"])
def test_a_loss_of_one_part_has_nothing_to_share(loss):
    assert len(loss(random_scores(), EYE, 0.5).weighted) < 2


def trained(root, monkeypatch=None):
    """Weights after six logged steps with dropout and a learnt temperature, and what was logged last."""
    if monkeypatch is not None:
        monkeypatch.setattr(training_module, "gradient_shares", lambda weighted, similarity: {})
    torch.manual_seed(0)
    module = small_module(loss=CurriculumLoss(learn_temperature=True))
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, datamodule=small_data(root))
    return {name: value.clone() for name, value in module.state_dict().items()}, trainer.callback_metrics


def test_measuring_changes_no_bit_of_the_run(tmp_path, monkeypatch):
    with_shares, logged = trained(tmp_path)
    without, silent = trained(tmp_path, monkeypatch)
    shares = [float(logged[f"train/grad_share_{name}"]) for name in ("triplet", "info_nce")]
    assert sum(shares) == pytest.approx(100.0, abs=1e-3)
    assert not [name for name in silent if "grad_share" in name]
    assert all(torch.equal(value, without[name]) for name, value in with_shares.items())
