"""Where a checkpoint keeps the model's weights: beside those of the loss, under a prefix of their own."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from tangka_match.retrieval.passport import PASSPORT_KEY

PREFIX = "matcher."


def matcher_weights(checkpoint: Mapping[str, Any], part: str = "") -> dict[str, Tensor]:
    """The weights of the model, or of a part of it, by their names in its ``state_dict``.

    >>> matcher_weights({"state_dict": {"matcher.head.bias": 1, "loss.scale": 2}})
    {'head.bias': 1}
    >>> matcher_weights({"state_dict": {"matcher.head.bias": 1}}, part="head.")
    {'bias': 1}
    """
    start = PREFIX + part
    return {key.removeprefix(start): value for key, value in checkpoint["state_dict"].items() if key.startswith(start)}


def as_checkpoint(
    weights: Mapping[str, Tensor], passport: dict[str, Any], *, epoch: int = 0, global_step: int = 0
) -> dict[str, Any]:
    """What ``torch.save`` writes and ``tangka_match.load`` reads, of weights that no training of ours made."""
    state = {f"{PREFIX}{key}": value for key, value in weights.items()}
    return {"epoch": epoch, "global_step": global_step, "state_dict": state, PASSPORT_KEY: passport}
