import pytest
import pytorch_lightning as pl
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from helpers.stub_matchers import PooledMatcher
from tangka_match.training.callbacks import MovingAveraging, TailAveraging


class Coded(PooledMatcher):
    """A matcher with codes beside its weights, as those of a word's characters or a piece's position."""

    def __init__(self):
        super().__init__(8, 4, 60)
        self.register_buffer("codes", torch.arange(4000))
        self.register_buffer("seen", torch.tensor(True))


class Weights(pl.Callback):
    """The weights after each step, and what the last validation saw."""

    def __init__(self):
        self.stepped, self.validated = [], {}

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.stepped.append(pl_module.matcher.project.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.validated = {name: value.clone() for name, value in pl_module.matcher.state_dict().items()}


def fit(root, average):
    torch.manual_seed(0)
    weights = Weights()
    trainer = quiet_trainer(max_epochs=2, callbacks=[weights, average])
    trainer.fit(small_module(Coded()), datamodule=small_data(root))
    return weights


@pytest.mark.parametrize("average", [MovingAveraging(0.9999), TailAveraging(0.3)], ids=["moving", "tail"])
def test_codes_are_not_averaged(tmp_path, average):
    """0.9999 * 11 + 0.0001 * 11 is a little less than 11 in float32, and would be cut off to 10."""
    seen = fit(tmp_path, average).validated
    assert torch.equal(seen["codes"], torch.arange(4000))
    assert seen["seen"].item() is True


def test_validation_sees_the_moving_average(tmp_path):
    weights = fit(tmp_path, MovingAveraging(0.75))
    first, *later = weights.stepped
    expected = first
    for step in later:
        expected = 0.75 * expected + 0.25 * step
    assert len(later) == 5
    torch.testing.assert_close(weights.validated["project"], expected)
