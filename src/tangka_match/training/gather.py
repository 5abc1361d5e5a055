"""Encoded items of every process, so that a loss sees the negatives of the whole global batch."""

import pytorch_lightning as pl
import torch
from torch import Tensor

from tangka_match.types import Encoded


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
