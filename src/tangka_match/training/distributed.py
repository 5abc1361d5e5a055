"""Several processes: which one this is, and encoded items gathered from all of them."""

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.losses import ContextualLoss
from tangka_match.types import Encoded

__all__ = ["is_logged_step", "is_main_process", "processes_started", "rank_zero_only"]


def is_main_process() -> bool:
    """Whether this process writes the records: the only one, or the first of a distributed run."""
    return getattr(rank_zero_only, "rank", 0) == 0


def processes_started() -> int:
    """How many processes ``torchrun`` or ``srun`` started together with this one; 1 where Lightning starts them.

    Raises:
        ConfigError: If SLURM's variables do not fit what Lightning asks of them.
    """
    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect():
            try:
                return environment().world_size()
            except RuntimeError as error:
                raise ConfigError(f"{environment.__name__}: {error}") from error
    return 1


def is_logged_step(trainer: pl.Trainer, step: int) -> bool:
    """Whether Lightning writes what is logged in an optimizer step, counted from 0: the last of every n, and of all.

    What is logged in another step reaches the records late, under the number of a later step, or not at all.
    """
    interval = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]  # set by Lightning's logger connector
    return (step + 1) % interval == 0 or step + 1 >= trainer.estimated_stepping_batches


def gather_encoded(module: pl.LightningModule, encoded: Encoded) -> Encoded:
    """Join the encoded items of all ranks in rank order, with gradients to each rank's own.

    Each rank computes the same loss over the gathered batch. The gather's backward sums the gradients of all ranks and
    DDP averages the parameters' gradients, so both the encoders and the similarity get the single-process gradient.
    """
    tokens, mask = encoded.tokens, encoded.mask
    if tokens is not None and mask is not None:
        padding = _missing(module, mask)
        tokens = _stack(module, torch.nn.functional.pad(tokens, (0, 0, 0, padding)))
        mask = gather_rows(module, torch.nn.functional.pad(mask, (0, padding)))
    pooled = None if encoded.pooled is None else _stack(module, encoded.pooled)
    return Encoded(pooled=pooled, tokens=tokens, mask=mask)


def gather_words(module: pl.LightningModule, token_ids: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Join captions, ids and mask, of all ranks in rank order, padded to the longest."""
    padding = (0, _missing(module, token_mask))
    ids, mask = (torch.nn.functional.pad(part, padding) for part in (token_ids, token_mask))
    return gather_rows(module, ids), gather_rows(module, mask)


def gather_rows(module: pl.LightningModule, rows: Tensor) -> Tensor:
    """Join a tensor's rows over all ranks in rank order, without gradients; every rank has as many rows."""
    return _flat(module.all_gather(rows))


def _missing(module: pl.LightningModule, mask: Tensor) -> int:
    """Positions that this rank's sequences lack to the longest of all ranks."""
    length = torch.tensor([mask.shape[1]], device=mask.device)
    return int(gather_rows(module, length).max()) - mask.shape[1]


def _stack(module: pl.LightningModule, rows: Tensor) -> Tensor:
    gathered = _flat(module.all_gather(rows, sync_grads=True))
    if gathered.requires_grad:
        # With gloo, torch 2.13 sends a gradient of permuted strides on as if it had none: wrong numbers, no error.
        gathered.register_hook(torch.Tensor.contiguous)
    return gathered


def _flat(gathered: object) -> Tensor:
    assert isinstance(gathered, Tensor), "one tensor in, one tensor out"
    return gathered.flatten(0, 1)


def strategy_for(name: str, loss: object, thaw_at: float) -> str:
    """Let several processes train a model of which some parameters get no gradient, at times or ever.

    They wait for a gradient of every parameter, unless they are told to look at each step which ones will have one; as
    that costs time, it is done only where the run needs it.

    Args:
        name: ``trainer.strategy``.
        loss: Of the run; one that reads no scores leaves alone what only scores go through.
        thaw_at: Share of the run up to which a part of the model is frozen.

    >>> from tangka_match.losses import InfoNCELoss
    >>> strategy_for("ddp", InfoNCELoss(), 0.0), strategy_for("ddp", InfoNCELoss(), 0.5)
    ('ddp', 'ddp_find_unused_parameters_true')
    """
    reads_scores = not isinstance(loss, ContextualLoss) or loss.reads_scores
    return "ddp_find_unused_parameters_true" if name == "ddp" and (thaw_at > 0 or not reads_scores) else name
