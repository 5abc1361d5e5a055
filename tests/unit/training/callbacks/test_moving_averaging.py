import pytorch_lightning as pl
import torch

from helpers.small_runs import quiet_trainer, small_data, small_module
from tangka_match.training.callbacks import MovingAveraging


class Weights(pl.Callback):
    """The weights after each step, and what the last validation saw."""

    def __init__(self):
        self.stepped, self.validated = [], None

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.stepped.append(pl_module.matcher.project.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.validated = pl_module.matcher.project.detach().clone()


def test_validation_sees_the_moving_average(tmp_path):
    torch.manual_seed(0)
    weights = Weights()
    trainer = quiet_trainer(max_epochs=2, callbacks=[weights, MovingAveraging(0.75)])
    trainer.fit(small_module(), datamodule=small_data(tmp_path))
    expected, *later = weights.stepped
    for step in later:
        expected = 0.75 * expected + 0.25 * step
    assert len(later) == 5
    torch.testing.assert_close(weights.validated, expected)
