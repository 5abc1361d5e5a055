"""Position in the training loop, rank of this process, and encodings gathered across processes."""

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.types import Encoded

__all__ = ["ends_step", "is_logged_step", "is_main_process", "launcher", "processes_started", "rank_zero_only"]


def is_main_process() -> bool:
    """Return whether this process writes the records: it is the only one, or has rank 0."""
    return getattr(rank_zero_only, "rank", 0) == 0


def processes_started() -> int:
    """Return how many processes ``torchrun`` or ``srun`` started together; 1 if Lightning starts them.

    Raises:
        ConfigError: If SLURM's environment variables are not those that Lightning requires.
    """
    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect():
            try:
                return environment().world_size()
            except RuntimeError as error:
                raise ConfigError(f"{environment.__name__}: {error}") from error
    return 1


def launcher() -> str | None:
    """Return the command that started the processes, ``"srun"`` or ``"torchrun"``; ``None`` if Lightning starts them.

    Lightning then starts none itself, even if this is the only one.
    """
    if TorchElasticEnvironment.detect():
        return "torchrun"
    return "srun" if SLURMEnvironment.detect() else None


def is_logged_step(trainer: pl.Trainer, step: int) -> bool:
    """Return whether Lightning writes the values logged in an optimizer step: every n-th step, and the last one.

    Values logged in other steps reach the records under the number of a later step, or not at all.

    Args:
        trainer: Trainer of the run.
        step: Optimizer step, from 0.
    """
    interval = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]  # set by Lightning's logger connector
    return (step + 1) % interval == 0 or step + 1 >= trainer.estimated_stepping_batches


def ends_step(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Return whether a batch ends with an optimizer step; with accumulated gradients only every n-th batch does.

    Args:
        trainer: Trainer of the run.
        batch_idx: Batch of the epoch, from 0.
    """
    done = batch_idx + 1
    return done % trainer.accumulate_grad_batches == 0 or done >= trainer.num_training_batches


def gather_encoded(module: pl.LightningModule, encoded: Encoded) -> Encoded:
    """Concatenate the encodings of all ranks in rank order, with gradients to those of each rank.

    Each rank computes the same loss over the scores of all ranks. The backward pass of a gather sums the gradients of
    all ranks, and DDP averages the gradients of the parameters, so that all of them are those of a single process.
    """
    tokens, mask = encoded.tokens, encoded.mask
    if tokens is not None and mask is not None:
        padding = _missing(module, mask)
        tokens = _stack(module, torch.nn.functional.pad(tokens, (0, 0, 0, padding)))
        mask = gather_rows(module, torch.nn.functional.pad(mask, (0, padding)))
    pooled = None if encoded.pooled is None else _stack(module, encoded.pooled)
    return Encoded(pooled=pooled, tokens=tokens, mask=mask)


def gather_scores(module: pl.LightningModule, rows: Tensor) -> Tensor:
    """Concatenate the rows of scores over all ranks in rank order, with gradients; see `gather_encoded`.

    Args:
        module: Module of a run in several processes.
        rows: Scores of this rank's images against the captions of all ranks; all ranks have as many rows.
    """
    return _stack(module, rows)


def gather_words(module: pl.LightningModule, token_ids: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Concatenate token ids and masks of all ranks in rank order, padded to the longest caption."""
    padding = (0, _missing(module, token_mask))
    ids, mask = (torch.nn.functional.pad(part, padding) for part in (token_ids, token_mask))
    return gather_rows(module, ids), gather_rows(module, mask)


def gather_rows(module: pl.LightningModule, rows: Tensor) -> Tensor:
    """Concatenate the rows of a tensor over all ranks in rank order, without gradients; all ranks have as many rows."""
    return _flat(module.all_gather(rows))


def _missing(module: pl.LightningModule, mask: Tensor) -> int:
    """Return how many positions this rank's sequences are shorter than the longest of all ranks."""
    length = torch.tensor([mask.shape[1]], device=mask.device)
    return int(gather_rows(module, length).max()) - mask.shape[1]


def _stack(module: pl.LightningModule, rows: Tensor) -> Tensor:
    gathered = _flat(module.all_gather(rows, sync_grads=True))
    if gathered.requires_grad:
        # torch 2.13 with gloo ignores the strides of a permuted gradient: wrong numbers, no error.
        gathered.register_hook(torch.Tensor.contiguous)
    return gathered


def _flat(gathered: object) -> Tensor:
    assert isinstance(gathered, Tensor), "a tensor is gathered to a tensor"
    return gathered.flatten(0, 1)
