import pytest
import pytorch_lightning as pl
import torch

from helpers.small_runs import Stop, StoppedError, quiet_trainer, small_data, small_module
from tangka_match.losses import CurriculumLoss
from tangka_match.training.callbacks import ExactResume, LastCheckpoint

STEPS = 6


class Margins(pl.Callback):
    """Callback that records the margin of each training step and each validation."""

    def __init__(self):
        self.training, self.validation = [], []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.training.append(pl_module.loss.margin)

    def on_validation_end(self, trainer, pl_module):
        self.validation.append(pl_module.loss.margin)


def fit(root, *callbacks, resume=None):
    """Train two epochs of three steps with validation, where the margin equals the progress."""
    torch.manual_seed(0)
    margins, data = Margins(), small_data(root)
    data.setup("fit")
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(root / "last.ckpt", 1, lambda step: None)]
    module = small_module(loss=CurriculumLoss(margin=[0.0, 1.0], until=1.0))
    trainer = quiet_trainer(max_epochs=2, callbacks=[margins, *keep, *callbacks])
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return margins


def test_steps_and_validations_use_the_share_of_steps_taken(tmp_path):
    margins = fit(tmp_path)
    assert margins.training == pytest.approx([step / STEPS for step in range(STEPS)])
    assert margins.validation == pytest.approx([0.5, 1.0])


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
def test_resumed_run_continues_with_the_values_of_its_step(tmp_path):
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(4))
    assert fit(tmp_path, resume=tmp_path / "last.ckpt").training == pytest.approx([4 / STEPS, 5 / STEPS])
