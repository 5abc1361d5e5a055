import pytest
import pytorch_lightning as pl
import torch

from helpers.small_runs import Stop, StoppedError, quiet_trainer, small_data, small_module
from tangka_match.training.callbacks import ExactResume, LastCheckpoint, TailAveraging


class Watch(pl.Callback):
    def __init__(self):
        self.stepped, self.validated = [], []

    def on_before_zero_grad(self, trainer, pl_module, optimizer):
        """Before the backward pass: the weights as the step before left them."""
        if trainer.global_step:
            self.stepped.append(pl_module.matcher.project.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.validated.append(pl_module.matcher.project.detach().clone())


def fit(root, *callbacks, epochs=4, resume=None, every=100):
    data, module, watch = small_data(root), small_module(), Watch()
    data.setup("fit")
    keep = [ExactResume(data.batch_sampler), LastCheckpoint(root / "last.ckpt", every, lambda step: None)]
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[*keep, TailAveraging(0.5), *callbacks, watch])
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return watch, module.matcher.project.detach().clone()


def test_validation_sees_the_mean_of_the_tail_and_before_it_the_weights(tmp_path):
    """Twelve steps; the mean begins after six."""
    torch.manual_seed(0)
    watch, end = fit(tmp_path)
    steps = watch.stepped  # after steps 1 to 11
    first = [watch.validated[n] for n in range(0, len(watch.validated), len(watch.validated) // 4)]
    assert torch.equal(first[0], steps[2])
    assert torch.equal(first[1], steps[5])
    assert torch.allclose(first[2], torch.stack(steps[6:9]).mean(0), atol=1e-6)
    assert torch.equal(first[3], end)


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
@pytest.mark.parametrize("steps", [5, 8, 9])  # of 12: before the mean begins, in an epoch, at the end of one
def test_a_resumed_run_ends_with_the_same_mean(tmp_path, steps):
    torch.manual_seed(0)
    _, whole = fit(tmp_path)
    torch.manual_seed(0)
    with pytest.raises(StoppedError):
        fit(tmp_path, Stop(steps), every=1)
    assert torch.equal(fit(tmp_path, resume=tmp_path / "last.ckpt")[1], whole)
