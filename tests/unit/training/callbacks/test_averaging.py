from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.small_runs import Stop, StoppedError, quiet_trainer, small_data, small_module
from helpers.stub_matchers import PooledMatcher
from tangka_match.losses import MomentumQueueLoss
from tangka_match.metrics import RetrievalMetrics
from tangka_match.models import SGRAF
from tangka_match.training.callbacks import ExactResume, LastCheckpoint, MovingAveraging, TailAveraging
from tangka_match.training.encoding import validation_similarity

AVERAGES = pytest.mark.parametrize(
    "average", [partial(MovingAveraging, 0.9999), partial(TailAveraging, 0.3)], ids=["moving", "tail"]
)


class Buffered(PooledMatcher):
    """Matcher with an integer buffer (codes) and a floating-point buffer (a statistic)."""

    def __init__(self):
        super().__init__(8, 4, 60)
        self.register_buffer("codes", torch.arange(4000))
        self.register_buffer("seen", torch.tensor(True))
        self.register_buffer("squared_steps", torch.tensor(0.0))
        self.steps = 0

    def encode_images(self, regions, region_mask):
        if self.training:
            self.steps += 1
            self.squared_steps.fill_(self.steps**2)
        return super().encode_images(regions, region_mask)


class Validated(pl.Callback):
    """Callback that records buffers at each validation."""

    def __init__(self):
        self.states = []

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == dataloader_idx == 0:
            self.states.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def fit(root, *averages, loss=None):
    """Train two epochs of three steps; return the buffers at the validations and at the end."""
    torch.manual_seed(0)
    validated, module = Validated(), small_module(Buffered(), loss)
    trainer = quiet_trainer(max_epochs=2, callbacks=[validated, *averages])
    trainer.fit(module, datamodule=small_data(root))
    return [*validated.states, module.state_dict()]


@AVERAGES
def test_integer_buffers_are_not_averaged(tmp_path, average):
    """0.9999 * 11 + 0.0001 * 11 is less than 11 in float32, and would be truncated to 10."""
    for state in fit(tmp_path, average()):
        assert torch.equal(state["matcher.codes"], torch.arange(4000))
        assert state["matcher.seen"].item() is True


def test_floating_point_buffers_are_averaged(tmp_path):
    """The last four of six steps are averaged: 9, 16, 25 and 36."""
    first, last, end = (state["matcher.squared_steps"].item() for state in fit(tmp_path, TailAveraging(0.3)))
    assert first == 9
    assert last == end == pytest.approx((9 + 16 + 25 + 36) / 4)


@AVERAGES
def test_queue_of_a_loss_is_not_averaged(tmp_path, average):
    """Averaging does not change the training steps; the momentum encoder copies buffers before averaging."""

    def loss():
        return MomentumQueueLoss(embed_dim=4, queue_size=7, key_momentum=0.5)

    plain, averaged = fit(tmp_path, loss=loss()), fit(tmp_path, average(), loss=loss())
    names = {name for name, _ in loss().named_buffers(prefix="loss")} | {"momentum.matcher.squared_steps"}
    assert {"loss.image_queue", "loss.position"} < names
    for one, other in zip(plain, averaged, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in names)
    assert not torch.equal(plain[-1]["matcher.project"], averaged[-1]["matcher.project"])


class Weights(pl.Callback):
    """Callback that records the weights after each step and at the last validation."""

    def __init__(self):
        self.stepped, self.validated = [], None

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.stepped.append(pl_module.matcher.project.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.validated = pl_module.matcher.project.detach().clone()


def test_validation_uses_the_moving_average(tmp_path):
    torch.manual_seed(0)
    weights = Weights()
    trainer = quiet_trainer(max_epochs=2, callbacks=[weights, MovingAveraging(0.75)])
    trainer.fit(small_module(), datamodule=small_data(tmp_path))
    expected, *later = weights.stepped
    for step in later:
        expected = 0.75 * expected + 0.25 * step
    assert len(later) == 5
    torch.testing.assert_close(weights.validated, expected)


def test_warm_decay_grows_to_its_limit(tmp_path):
    torch.manual_seed(0)
    weights = Weights()
    trainer = quiet_trainer(max_epochs=2, callbacks=[weights, MovingAveraging(0.3, warmup=True)])
    trainer.fit(small_module(), datamodule=small_data(tmp_path))
    expected, *later = weights.stepped
    for decay, step in zip([2 / 11, 3 / 12, 0.3, 0.3, 0.3], later, strict=True):
        expected = decay * expected + (1 - decay) * step
    torch.testing.assert_close(weights.validated, expected)


@pytest.mark.parametrize(
    ("average", "warns"), [(MovingAveraging(0.9999), True), (MovingAveraging(0.9999, True), False)]
)
def test_average_that_keeps_the_first_weights_is_a_warning(tmp_path, caplog, average, warns):
    quiet_trainer(max_epochs=2, callbacks=[average]).fit(small_module(), datamodule=small_data(tmp_path))
    found = [r.getMessage() for r in caplog.records if "training.ema_decay=0.9999" in r.getMessage()]
    assert len(found) == warns
    assert all("6 optimizer steps of this run, 100 % of the average" in message for message in found)


class FinalScores(pl.Callback):
    """Callback that keeps the metrics of the last validation, and the weights that scored."""

    def on_validation_end(self, trainer, pl_module):
        self.metrics = {name: float(value) for name, value in trainer.callback_metrics.items() if "val/" in name}


@AVERAGES
def test_metrics_are_those_of_the_averaged_weights_where_scores_have_weights_too(tmp_path, average):
    """The scores, computed at the end of the validation epoch, use the average as well as the encoders."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 60, "feature_dim": 8, "embed_dim": 8, "word_dim": 5, "sim_dim": 6}
    scores, module, data = FinalScores(), small_module(SGRAF(**sizes)), small_data(tmp_path)
    quiet_trainer(max_epochs=2, callbacks=[scores, average()]).fit(module, datamodule=data)
    similarity = validation_similarity(module, data, torch.device("cpu"))
    expected = RetrievalMetrics()
    expected.update(similarity, torch.as_tensor(data.val.caption_to_image))
    found = {name.removeprefix("val/"): value for name, value in scores.metrics.items()}
    assert all(found[name] == pytest.approx(float(value)) for name, value in expected.compute().items())


class Watch(pl.Callback):
    def __init__(self):
        self.stepped, self.validated = [], []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        """Record the weights after the previous step."""
        if trainer.global_step:
            self.stepped.append(pl_module.matcher.project.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.validated.append(pl_module.matcher.project.detach().clone())


def fit_tail_averaging(root, *callbacks, epochs=4, resume=None, every=100):
    data, module, watch = small_data(root), small_module(), Watch()
    data.setup("fit")
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(root / "last.ckpt", every, lambda step: None)]
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[*keep, TailAveraging(0.5), *callbacks, watch])
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return watch, module.matcher.project.detach().clone()


def test_validation_uses_the_raw_weights_until_the_tail_average_begins(tmp_path):
    """The last six of twelve steps are averaged."""
    torch.manual_seed(0)
    watch, end = fit_tail_averaging(tmp_path)
    steps = watch.stepped  # after steps 1 to 11
    first = [watch.validated[n] for n in range(0, len(watch.validated), len(watch.validated) // 4)]
    assert torch.equal(first[0], steps[2])
    assert torch.equal(first[1], steps[5])
    assert torch.allclose(first[2], torch.stack(steps[6:9]).mean(0), atol=1e-6)
    assert torch.equal(first[3], end)


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("steps", [5, 8, 9])  # of 12: before averaging begins, within an epoch, at the end of an epoch
def test_resumed_run_has_the_same_tail_average(tmp_path, steps):
    torch.manual_seed(0)
    _, whole = fit_tail_averaging(tmp_path)
    torch.manual_seed(0)
    with pytest.raises(StoppedError):
        fit_tail_averaging(tmp_path, Stop(steps), every=1)
    assert torch.equal(fit_tail_averaging(tmp_path, resume=tmp_path / "last.ckpt")[1], whole)


@AVERAGES
def test_average_takes_as_many_calls_for_many_tensors_as_for_few(average):
    """One call for all tensors of a dtype, in place of some for each of them."""

    class Calls(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    counts = []
    for count in (2, 200):
        averaged, current = ([torch.ones(3, 2) for _ in range(count)] for _ in range(2))
        seen = []
        with Calls():
            average()._average(averaged, current, torch.tensor(5))
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_averages_of_many_tensors_by_hand():
    """Half of the old and half of the new; then the mean of three, of which two were averaged before."""
    for average, expected in ((MovingAveraging(0.5), 2.0), (TailAveraging(0.5), 1 + 2 / 3)):
        averaged, current = [torch.ones(2), torch.ones(3, 2)], [torch.full((2,), 3.0), torch.full((3, 2), 3.0)]
        average._average(averaged, current, torch.tensor(2))
        assert all(torch.allclose(tensor, torch.tensor(expected)) for tensor in averaged)
