from functools import partial

import numpy as np
import pytest
import torch

from helpers.precomp import FIGURES, SEATS, write_precomp
from helpers.small_runs import Stop, StoppedError, quiet_trainer, small_module
from helpers.stub_matchers import PooledMatcher
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.errors import ConfigError
from tangka_match.losses import InfoNCELoss, LossTerms, TripletMarginLoss
from tangka_match.training.callbacks import ExactResume, LastCheckpoint
from tangka_match.training.noisy_pairs import NoisyPairWeights, check_weighable

PAIRS, WRONG = 60, 12
EPOCHS = 14


def weigh(hook, losses, pairs, *, epoch=0, progress=0.0):
    losses = torch.tensor(losses, requires_grad=True)
    terms = LossTerms(losses.mean(), {"info_nce": losses.detach().mean()}, {})
    found = hook.weight_pairs(terms, losses, torch.tensor(pairs), epoch=epoch, progress=progress)
    return found, losses


def test_losses_are_averaged_and_unweighted_before_begin():
    hook = NoisyPairWeights([4], begin=0.5)
    weigh(hook, [1.0, 2.0], [3, 0])
    found, losses = weigh(hook, [2.0, 8.0], [3, 1], epoch=1, progress=0.49)
    assert torch.equal(found.total, losses.mean())
    assert found.values == {}
    averages = hook.state_dict()["losses"]
    assert averages[[3, 0, 1]].tolist() == pytest.approx([0.7 * 1 + 0.3 * 2, 2.0, 8.0])
    assert averages[2].isnan()
    assert hook.weights.tolist() == [1.0] * 4


def test_loss_is_the_weighted_mean_from_begin_on():
    hook = NoisyPairWeights([7], begin=0.5)
    weigh(hook, [1.0, 1.1, 0.9, 1.05, 6.0, 6.1], [0, 1, 2, 3, 4, 5])
    found, losses = weigh(hook, [3.0, 5.0, 9.0], [0, 6, 4], epoch=1, progress=0.5)
    weights = hook.weights
    assert weights[:4].min() > 0.99
    assert weights[4:6].max() < 0.01
    assert weights[6] == 1  # never seen
    share = weights[4].item()
    assert found.total.item() == pytest.approx((3 + 5 + 9 * share) / (2 + share))
    assert found.values["pair_weight"] == pytest.approx((2 + share) / 3)
    found.total.backward()
    torch.testing.assert_close(losses.grad, weights[[0, 6, 4]] / (2 + share))


def test_weights_are_fitted_once_per_epoch():
    """Otherwise pairs of one epoch, and a resumed run, would use different mixtures."""
    hook = NoisyPairWeights([4], begin=0.5)
    weigh(hook, [1.0, 1.1, 5.0, 5.1], [0, 1, 2, 3])
    weigh(hook, [90.0, 1.0], [0, 2], epoch=1, progress=0.6)
    first = hook.weights.clone()
    weigh(hook, [90.0, 1.0], [1, 3], epoch=1, progress=0.7)
    assert torch.equal(hook.weights, first)
    weigh(hook, [1.0], [2], epoch=2, progress=0.8)
    assert hook.weights[0] < hook.weights[2]


def test_begin_within_an_epoch_fits_the_weights_immediately():
    """The first step past begin uses the averages so far; the next fit is at the first step of the next epoch."""
    hook = NoisyPairWeights([5], begin=0.5)
    weigh(hook, [1.0, 1.1, 5.0, 5.1], [0, 1, 2, 3])
    weigh(hook, [1.0], [0], epoch=1, progress=0.4)
    assert hook.weights.tolist() == [1.0] * 5
    found, _ = weigh(hook, [3.0, 4.9], [0, 4], epoch=1, progress=0.5)
    assert (hook.weights > 0.9).tolist() == [True, True, False, False, True]
    assert "pair_weight" in found.values
    weigh(hook, [1.0], [0], epoch=1, progress=0.6)
    assert hook.weights[4] == 1  # seen since the last fit
    weigh(hook, [1.0], [0], epoch=2, progress=0.7)
    assert hook.weights[4] < 0.1


def test_each_training_set_has_its_own_mixture():
    """All pairs of the harder second set have a higher loss than the mismatched pair of the first."""
    losses = [1.0, 1.1, 0.9, 1.05, 3.0, 7.0, 7.1, 6.9, 7.05, 9.0]
    one_set, two_sets = NoisyPairWeights([10], begin=0.5), NoisyPairWeights([5, 5], begin=0.5)
    for hook in (one_set, two_sets):
        weigh(hook, losses, list(range(10)))
        weigh(hook, [1.0], [0], epoch=1, progress=0.5)
    assert (two_sets.weights > 0.9).tolist() == [True] * 4 + [False] + [True] * 4 + [False]
    assert (one_set.weights[5:] < 0.1).all()


def test_batch_of_zero_weights_has_a_finite_loss():
    hook = NoisyPairWeights([2], begin=0.5)
    hook.load_state_dict({"losses": torch.ones(2), "weights": torch.zeros(2), "weighed_epoch": 3})
    found, _ = weigh(hook, [4.0, 5.0], [0, 1], epoch=3, progress=0.9)
    assert found.total.item() == 0.0


def planted(root):
    """Write a set in which a fifth of the captions describe another image; return the mask of these captions."""
    numbers = 43 * np.arange(WRONG) % PAIRS  # every figure has one or two wrong captions, and also correct ones
    described = np.arange(PAIRS)
    described[numbers] = np.roll(numbers, 1)
    wrong = described != np.arange(PAIRS)
    write_precomp(root, images=PAIRS, dim=16, captions=[f"{FIGURES[n % 10]}坐在{SEATS[n % 7]}上" for n in described])
    write_precomp(root, "val", images=6, dim=16, seed=1)
    return torch.from_numpy(wrong)


def fit(root, *callbacks, begin=0.4, resume=None, every=1000):
    """Train on the planted pairs; return the hook and the weights of the model."""
    data = RegionTextDataModule(str(root), batch_size=12)
    data.setup("fit")
    matcher = PooledMatcher(16, 16, len(data.vocabulary))
    matcher.dropout.p = 0.1
    hook = NoisyPairWeights([PAIRS], begin)
    module = small_module(
        matcher,
        InfoNCELoss(0.1, learn_temperature=False),
        optimizer=partial(torch.optim.Adam, lr=0.05),
        hooks=[hook],
    )
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(root / "last.ckpt", every, lambda step: None)]
    trainer = quiet_trainer(max_epochs=EPOCHS, callbacks=[*keep, *callbacks])
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return hook, module.state_dict()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_mismatched_pairs_get_low_weights(tmp_path, seed):
    wrong = planted(tmp_path)
    torch.manual_seed(seed)
    hook, _ = fit(tmp_path)
    assert hook.weights[wrong].mean() < 0.3
    assert hook.weights[~wrong].mean() > 0.9


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    planted(root := tmp_path_factory.mktemp("uninterrupted"))
    torch.manual_seed(0)
    return fit(root)


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("steps", [13, 42, 45])  # of 70: before weighting begins, within an epoch, at the end of one
def test_resumed_run_equals_an_uninterrupted_one(uninterrupted, tmp_path, steps):
    hook, whole = uninterrupted
    planted(tmp_path)
    torch.manual_seed(0)
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(steps), every=1)
    again, resumed = fit(tmp_path, resume=tmp_path / "last.ckpt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert torch.equal(hook.weights, again.weights)
    assert torch.equal(hook.state_dict()["losses"], again.state_dict()["losses"])


def test_loss_without_pair_losses_is_refused():
    check_weighable(InfoNCELoss(), 0.3)
    check_weighable(TripletMarginLoss(), None)
    with pytest.raises(ConfigError, match=r"training\.noisy_pairs_from=0\.3 weights.*TripletMarginLoss.*loss=info_nce"):
        check_weighable(TripletMarginLoss(), 0.3)
