from itertools import chain

import pytest
import pytorch_lightning as pl
import torch

from helpers.precomp import write_dataset
from helpers.small_runs import Stop, StoppedError, quiet_trainer, small_module
from helpers.stub_matchers import MaxMeanMatcher
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.errors import ConfigError
from tangka_match.training.callbacks import ExactResume, HardBatches, LastCheckpoint


class Watch(pl.Callback):
    """Callback that records the captions of every step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen.append(batch.caption_index.tolist())


def fit(root, *callbacks, share=0.5, resume=None, workers=0, matcher=None):
    """Train three epochs of six steps with dropout; return the final weights."""
    data = RegionTextDataModule(
        str(write_dataset(root / "data", train=24)), batch_size=4, hard_batches=share, num_workers=workers
    )
    data.setup("fit")
    module = small_module(matcher)
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(root / "last.ckpt", 1, lambda step: None)]
    hard = [HardBatches(data)] if share else []
    trainer = quiet_trainer(max_epochs=3, callbacks=[*keep, *hard, *callbacks])
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return module.state_dict()


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize(("steps", "workers"), [(3, 0), (6, 0), (9, 0), (12, 0), (16, 0), (9, 2)])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, steps, workers):
    """Steps 6 and 12 end epochs; between them the weights that neighbours were found with are not available."""
    torch.manual_seed(5)
    whole_seen = Watch()
    whole = fit(tmp_path, whole_seen)
    torch.manual_seed(5)
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(steps), workers=workers)
    torch.manual_seed(99)
    resumed_seen = Watch()
    resumed = fit(tmp_path, resumed_seen, resume=tmp_path / "last.ckpt", workers=workers)
    assert resumed_seen.seen == whole_seen.seen[-len(resumed_seen.seen) :]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_order_depends_on_the_model_and_draws_no_random_numbers(tmp_path):
    """The first epoch uses plain shuffling and the same dropout, so the weights are equal."""
    orders, states = [], []

    class AfterOneEpoch(pl.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            states.append((torch.get_rng_state(), pl_module.matcher.project.detach().clone()))

    for share in (0.0, 0.5):
        torch.manual_seed(5)
        watch = Watch()
        fit(tmp_path, watch, AfterOneEpoch(), share=share)
        orders.append(watch.seen)
    plain, hard = orders
    assert plain[:6] == hard[:6]
    assert plain[6:12] != hard[6:12]
    assert sorted(chain(*hard[6:12])) == sorted(chain(*hard[12:])) == list(range(24))
    assert [torch.equal(*pair) for pair in zip(states[1], states[4], strict=True)] == [True, True]


def test_neighbours_are_found_in_every_epoch_after_the_first(tmp_path):
    found = []

    class Found(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            found.append(trainer.datamodule.batch_sampler.neighbours)

    fit(tmp_path, Found())
    assert [kept and kept[0] for kept in found] == [None, 1, 2]
    first, second = found[1][1], found[2][1]
    assert not (first == second).all()
    assert sorted(first[0].tolist()) == [-1] * 9 + list(range(1, 24))  # 23 others, 32 places


def test_matcher_without_pooled_embeddings_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.hard_batches=0\.5.*MaxMeanMatcher has none.*model=vse"):
        fit(tmp_path, matcher=MaxMeanMatcher(8, 4, 60))
