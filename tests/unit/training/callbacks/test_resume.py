import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from helpers.small_checkpoints import write_checkpoint
from helpers.small_runs import Stop, StoppedError, quiet_trainer, small_data, small_module
from helpers.stub_matchers import ThawingMatcher
from helpers.tiny_pretrained import write_bert
from tangka_match.data.samplers import ResumableBatchSampler
from tangka_match.errors import CheckpointError
from tangka_match.losses import MomentumQueueLoss, ScoreDistillationLoss
from tangka_match.training.callbacks import ExactResume, LastCheckpoint
from tangka_match.training.callbacks.resume import fix_buckets, random_state, restore_random_state
from tangka_match.training.distillation import Distillation, Teachers
from tangka_match.training.sentence_teacher import SentenceTeacher


class DrawsNumbers(pl.Callback):
    """Callback that draws random numbers, as loading a model or starting workers does."""

    def on_train_start(self, trainer, pl_module):
        draw()


def draw():
    return [*torch.rand(3).tolist(), *np.random.rand(3), np.random.randn(), random.gauss(0, 1)]


def fit(root, *callbacks, resume=None, every=100, loss=None, **settings):
    """Train three epochs of three steps with dropout; return the final weights."""
    data, module = small_data(root), small_module(loss=loss, **settings)
    data.setup("fit")
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(root / "last.ckpt", every, lambda step: None)]
    quiet_trainer(max_epochs=3, callbacks=[*keep, *callbacks]).fit(module, datamodule=data, ckpt_path=resume)
    return module.state_dict()


def test_random_state_is_restored():
    draw()
    random.gauss(0, 1)  # keeps the second number of a pair as part of the state
    state = random_state()
    expected = draw()
    assert draw() != expected
    restore_random_state(state)
    assert draw() == expected


@pytest.mark.parametrize(("saved", "device"), [(8, 0), (1, 3), (8, 5)])
def test_state_of_other_gpus_is_not_restored(monkeypatch, saved, device):
    """torch raises an IndexError if the states of eight GPUs are set on a machine with one."""
    restored = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: device)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: "of this GPU")
    monkeypatch.setattr(torch.cuda, "set_rng_state", restored.append)
    state = random_state()
    assert state["cuda"] == ["of this GPU"]
    restore_random_state(state)
    restore_random_state({**state, "cuda": [f"of GPU {index}" for index in range(saved)]})
    assert restored == ["of this GPU", f"of GPU {min(device, saved - 1)}"]


def test_random_state_can_be_loaded_with_weights_only(tmp_path):
    state = random_state()
    expected = draw()
    torch.save(state, tmp_path / "state.pt")
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert draw() == expected


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 8])
def test_resumed_run_equals_an_uninterrupted_one(tmp_path, steps):
    torch.manual_seed(5)
    whole = fit(tmp_path)
    torch.manual_seed(5)
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(steps), every=1)
    torch.manual_seed(99)
    resumed = fit(tmp_path, DrawsNumbers(), resume=tmp_path / "last.ckpt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_momentum_encoder_and_queue_resume_exactly(tmp_path):
    """The queue has seven entries and batches have four, so the run stops with a partly overwritten queue."""

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


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("steps", [3, 4, 5, 7])
def test_words_that_are_unfrozen_later_resume_exactly(tmp_path, steps):
    """They are frozen for five of nine steps, in which the optimizer has no state for them."""

    def settings():
        return {"matcher": ThawingMatcher(8, 4, 60), "optimizer": partial(torch.optim.AdamW, lr=0.1)}

    torch.manual_seed(0)
    whole = fit(tmp_path, **settings())
    torch.manual_seed(0)
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(steps), every=1, **settings())
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    words = saved["state_dict"]["matcher.words"]
    assert torch.equal(words, ThawingMatcher(8, 4, 60).words) == (steps <= 5)
    assert len(saved["optimizer_states"][0]["state"]) == (1 if steps <= 5 else 2)
    resumed = fit(tmp_path, DrawsNumbers(), resume=tmp_path / "last.ckpt", **settings())
    assert not torch.equal(whole["matcher.words"], words)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("same_above", [None, 0.5])
def test_distilled_student_resumes_exactly(tmp_path, same_above):
    data = small_data(tmp_path)
    data.setup("fit")
    path = write_checkpoint(tmp_path / "teacher.ckpt", list(data.train.captions))
    bert = None if same_above is None else str(write_bert(tmp_path / "bert"))

    def taught():
        sentences = None if bert is None else SentenceTeacher(bert, "", data.train_sets)
        return Distillation(Teachers([path], data.train, sentences), ScoreDistillationLoss(0.5, 0.1), 1.0, same_above)

    torch.manual_seed(0)
    alone = fit(tmp_path)
    torch.manual_seed(0)
    whole = fit(tmp_path, hooks=[taught()])
    torch.manual_seed(0)
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(4), every=1, hooks=[taught()])
    resumed = fit(tmp_path, DrawsNumbers(), resume=tmp_path / "last.ckpt", hooks=[taught()])
    assert not torch.equal(alone["matcher.project"], whole["matcher.project"])
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_weights_depend_on_the_random_state(tmp_path):
    """Otherwise the tests above could pass with a lost random state."""
    torch.manual_seed(5)
    first = fit(tmp_path)
    torch.manual_seed(6)
    assert not torch.equal(first["matcher.project"], fit(tmp_path)["matcher.project"])


def place(ready, processed, batches):
    """Return what is saved with these counts of Lightning's loops, in an epoch of three batches."""
    trainer = SimpleNamespace(
        world_size=1,
        num_training_batches=3,
        fit_loop=SimpleNamespace(
            epoch_progress=SimpleNamespace(current=SimpleNamespace(ready=ready, processed=processed)),
            epoch_loop=SimpleNamespace(
                batch_progress=SimpleNamespace(current=SimpleNamespace(processed=batches)),
            ),
        ),
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
def test_saved_position_is_the_next_batch(counts, expected):
    assert place(*counts) == expected


def test_loading_sets_the_position_of_the_sampler():
    sampler = ResumableBatchSampler(num_pairs=12, batch_size=4)
    whole = list(sampler)
    state = {"exact_resume": {"epoch": 0, "batch": 2, "random": random_state()}}
    ExactResume(sampler).on_load_checkpoint(SimpleNamespace(callbacks=[], global_rank=0), None, state)
    assert list(sampler) == whole[2:]


@pytest.mark.parametrize(
    ("callbacks", "checkpoint", "message"),
    [
        (
            [pl.callbacks.EMAWeightAveraging()],
            {},
            r"written without weight averaging, but here weights are averaged \(training\.ema_decay",
        ),
        (
            [],
            {"averaging_state": {}},
            r"written with weight averaging, but here weights are not averaged \(training\.ema_decay",
        ),
    ],
)
def test_checkpoint_with_another_averaging_is_refused(callbacks, checkpoint, message):
    resume = ExactResume(ResumableBatchSampler(num_pairs=12, batch_size=4))
    with pytest.raises(CheckpointError, match=message + r".*resume=<run id>"):
        resume.on_load_checkpoint(SimpleNamespace(callbacks=callbacks), None, checkpoint)


def test_checkpoint_without_a_position_is_refused():
    resume = ExactResume(ResumableBatchSampler(num_pairs=12, batch_size=4))
    with pytest.raises(CheckpointError, match="lacks the position in the data"):
        resume.on_load_checkpoint(SimpleNamespace(callbacks=[], global_rank=0), None, {})


class Branches(nn.Module):
    """Model whose parameters get their gradients in another order than they are registered in."""

    def __init__(self):
        super().__init__()
        self.last, self.first, self.middle = (nn.Parameter(torch.ones(size)) for size in (3, 5, 7))

    def forward(self, x):
        return (((x * self.first.sum()).tanh() * self.middle.sum()).tanh() * self.last.sum()).tanh()


@pytest.fixture
def gloo(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def order_of_gradients(model):
    """Return the sizes of the gradients in the buckets of three steps, in the order in which they are summed."""
    steps = []

    def note(state, bucket):
        steps[-1] += [len(gradient) for gradient in bucket.gradients()]
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    model.register_comm_hook(None, note)
    for _ in range(3):
        steps.append([])
        model(torch.ones(())).backward()
    return steps


@pytest.mark.usefixtures("gloo")
def test_gradients_are_summed_in_the_same_order_in_all_steps():
    """DDP changes the order after the first step, so that the first step of a resumed run would sum in another."""
    first, second, third = order_of_gradients(DistributedDataParallel(Branches()))
    assert (first != second) and second == third
    model = DistributedDataParallel(Branches())
    fix_buckets(model)
    first, second, third = order_of_gradients(model)
    assert first == second == third


@pytest.mark.usefixtures("gloo")
@pytest.mark.parametrize(
    ("device", "deterministic", "processes", "expected"),
    [("cpu", False, 4, True), ("cpu", False, 2, False), ("cuda", False, 4, False), ("cuda", True, 4, True)],
)
def test_order_of_sums_is_fixed_where_they_can_be_exact(monkeypatch, device, deterministic, processes, expected):
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    model = DistributedDataParallel(Branches())
    trainer = SimpleNamespace(world_size=processes, strategy=SimpleNamespace(model=model))
    ExactResume(None).on_train_start(trainer, SimpleNamespace(device=torch.device(device)))
    first, second, _ = order_of_gradients(model)
    assert (first == second) is expected
