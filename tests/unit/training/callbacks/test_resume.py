import random
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from helpers.small_runs import Stop, StoppedError, quiet_trainer, small_data, small_module
from tangka_match.data.samplers import ResumableBatchSampler
from tangka_match.errors import CheckpointError
from tangka_match.losses import MomentumQueueLoss
from tangka_match.training.callbacks import ExactResume, LastCheckpoint
from tangka_match.training.callbacks.resume import random_state, restore_random_state


class DrawsNumbers(pl.Callback):
    """What loading a model or starting workers may do."""

    def on_train_start(self, trainer, pl_module):
        draw()


def draw():
    return [*torch.rand(3).tolist(), *np.random.rand(3), np.random.randn(), random.gauss(0, 1)]


def fit(root, *callbacks, resume=None, every=100, loss=None):
    """Three epochs of three steps, with dropout; returns the weights at the end."""
    data, module = small_data(root), small_module(loss=loss)
    data.setup("fit")
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(root / "last.ckpt", every, lambda step: None)]
    quiet_trainer(max_epochs=3, callbacks=[*keep, *callbacks]).fit(module, datamodule=data, ckpt_path=resume)
    return module.state_dict()


def test_the_generators_go_back_to_where_they_were():
    draw()
    random.gauss(0, 1)  # leaves half a pair behind, which is part of the state
    state = random_state()
    expected = draw()
    assert draw() != expected
    restore_random_state(state)
    assert draw() == expected


def test_the_state_survives_a_checkpoint_that_runs_no_code(tmp_path):
    state = random_state()
    expected = draw()
    torch.save(state, tmp_path / "state.pt")
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 8])
def test_a_run_that_stopped_ends_with_the_weights_of_an_unbroken_one(tmp_path, steps):
    torch.manual_seed(5)
    whole = fit(tmp_path)
    torch.manual_seed(5)
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(steps), every=1)
    torch.manual_seed(99)
    resumed = fit(tmp_path, DrawsNumbers(), resume=tmp_path / "last.ckpt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_momentum_copy_and_its_queue_go_on_bit_by_bit(tmp_path):
    """Seven places and batches of four: the run stops with the queue half gone round."""

    def loss():
        return MomentumQueueLoss(embed_dim=4, queue_size=7, key_momentum=0.5)

    torch.manual_seed(0)
    whole = fit(tmp_path, loss=loss())
    torch.manual_seed(0)
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(5), every=1, loss=loss())
    resumed = fit(tmp_path, DrawsNumbers(), resume=tmp_path / "last.ckpt", loss=loss())
    assert {"momentum.matcher.project", "loss.image_queue", "loss.position"} < set(whole)
    assert not torch.equal(whole["momentum.matcher.project"], whole["matcher.project"])
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_dropout_makes_the_weights_depend_on_the_random_state(tmp_path):
    """Else the test above would prove nothing."""
    torch.manual_seed(5)
    first = fit(tmp_path)
    torch.manual_seed(6)
    assert not torch.equal(first["matcher.project"], fit(tmp_path)["matcher.project"])


def place(ready, processed, batches):
    """What is saved with these counts of Lightning's loops, in an epoch of three batches."""
    trainer = SimpleNamespace(
        fit_loop=SimpleNamespace(
            epoch_progress=SimpleNamespace(current=SimpleNamespace(ready=ready, processed=processed)),
            epoch_loop=SimpleNamespace(
                batch_progress=SimpleNamespace(current=SimpleNamespace(processed=batches)),
            ),
        )
    )
    checkpoint = {}
    sampler = ResumableBatchSampler(num_pairs=12, batch_size=4)
    ExactResume(sampler).on_save_checkpoint(trainer, None, checkpoint)
    return checkpoint["exact_resume"]["epoch"], checkpoint["exact_resume"]["batch"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((1, 0, 2), (0, 2)),  # within the first epoch
        ((3, 2, 1), (2, 1)),  # within the third
        ((1, 0, 3), (1, 0)),  # after its last batch, in the validation
        ((1, 1, 3), (1, 0)),  # at its end
    ],
)
def test_the_place_is_the_next_batch_to_train(counts, expected):
    assert place(*counts) == expected


def test_loading_tells_the_sampler_where_to_go_on():
    sampler = ResumableBatchSampler(num_pairs=12, batch_size=4)
    whole = list(sampler)
    state = {"exact_resume": {"epoch": 0, "batch": 2, "random": random_state()}}
    ExactResume(sampler).on_load_checkpoint(SimpleNamespace(callbacks=[]), None, state)
    assert list(sampler) == whole[2:]


@pytest.mark.parametrize(
    ("callbacks", "checkpoint", "said"),
    [
        ([pl.callbacks.EMAWeightAveraging()], {}, r"written without weight averaging, but training\.ema_decay is set"),
        ([], {"averaging_state": {}}, r"written with weight averaging, but training\.ema_decay is null"),
    ],
)
def test_a_checkpoint_with_or_without_averages_is_not_mistaken_for_the_other(callbacks, checkpoint, said):
    resume = ExactResume(ResumableBatchSampler(num_pairs=12, batch_size=4))
    with pytest.raises(CheckpointError, match=said + r".*resume=<run id>"):
        resume.on_load_checkpoint(SimpleNamespace(callbacks=callbacks), None, checkpoint)


def test_a_checkpoint_that_lost_its_place_is_refused():
    resume = ExactResume(ResumableBatchSampler(num_pairs=12, batch_size=4))
    with pytest.raises(CheckpointError, match="does not say where in the data it was written"):
        resume.on_load_checkpoint(SimpleNamespace(callbacks=[]), None, {})
