from functools import partial

import pytest
import pytorch_lightning as pl
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from helpers.stub_matchers import PooledMatcher
from tangka_match.losses import MomentumQueueLoss
from tangka_match.training.callbacks import MovingAveraging, TailAveraging

AVERAGES = pytest.mark.parametrize(
    "average", [partial(MovingAveraging, 0.9999), partial(TailAveraging, 0.3)], ids=["moving", "tail"]
)


class Buffered(PooledMatcher):
    """A matcher with codes beside its weights, as those of a word's characters, and a statistic of the training."""

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
    """What each validation saw."""

    def __init__(self):
        self.states = []

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        if batch_idx == dataloader_idx == 0:
            self.states.append({name: value.clone() for name, value in pl_module.state_dict().items()})


def fit(root, *averages, loss=None):
    """Two epochs of three steps; returns what the validations saw, and the end."""
    torch.manual_seed(0)
    validated, module = Validated(), small_module(Buffered(), loss)
    trainer = quiet_trainer(max_epochs=2, callbacks=[validated, *averages])
    trainer.fit(module, datamodule=small_data(root))
    return [*validated.states, module.state_dict()]


@AVERAGES
def test_codes_are_not_averaged(tmp_path, average):
    """0.9999 * 11 + 0.0001 * 11 is a little less than 11 in float32, and would be cut off to 10."""
    for state in fit(tmp_path, average()):
        assert torch.equal(state["matcher.codes"], torch.arange(4000))
        assert state["matcher.seen"].item() is True


def test_statistics_of_the_matcher_are_averaged_as_its_weights_are(tmp_path):
    """The tail of six steps begins after the second: 9, 16, 25 and 36."""
    first, last, end = (state["matcher.squared_steps"].item() for state in fit(tmp_path, TailAveraging(0.3)))
    assert first == 9
    assert last == end == pytest.approx((9 + 16 + 25 + 36) / 4)


@AVERAGES
def test_the_queue_of_a_loss_is_that_of_the_running_model(tmp_path, average):
    """Averages change no step; the momentum copy takes the matcher's statistics as they are, too."""

    def loss():
        return MomentumQueueLoss(embed_dim=4, queue_size=7, key_momentum=0.5)

    plain, averaged = fit(tmp_path, loss=loss()), fit(tmp_path, average(), loss=loss())
    names = {name for name, _ in loss().named_buffers(prefix="loss")} | {"momentum.matcher.squared_steps"}
    assert {"loss.image_queue", "loss.position"} < names
    for one, other in zip(plain, averaged, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in names)
    assert not torch.equal(plain[-1]["matcher.project"], averaged[-1]["matcher.project"])
