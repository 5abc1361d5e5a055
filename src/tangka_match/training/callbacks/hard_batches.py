"""Neighbours by the running model, for batches of pairs that it takes for each other."""

import logging
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import Strategy

from tangka_match.data.captions import group_texts
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.data.difficulty import nearest_pairs
from tangka_match.errors import ConfigError
from tangka_match.retrieval.encode import device_of, encode_caption_batches, encode_image_batches
from tangka_match.types import Encoded, Matcher, TokenMatcher

logger = logging.getLogger(__name__)

NEIGHBOURS = 32
"""Kept of each pair: many more than a batch takes of one, because others may have taken the nearest before."""

_KEY = "hard_batches"


class HardBatches(pl.Callback):
    """Encodes the training pairs when an epoch's order is asked for, from the second on, and finds their neighbours.

    The weights are those that the run has then, not their average. Nothing random is drawn. A checkpoint within an
    epoch carries the neighbours found at its begin, because the weights of that moment are gone. Each process of a
    distributed run encodes all pairs itself, and takes what the first one finds.

    Args:
        data: Set up, with ``hard_batches`` over 0.
    """

    def __init__(self, data: RegionTextDataModule) -> None:
        self._data = data
        self._told = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Encode a batch to see whether the model can do it, and let the sampler ask.

        Raises:
            ConfigError: If the model has no vector an image and a caption.
        """
        if stage != "fit":
            return
        matcher = pl_module.matcher
        assert isinstance(matcher, Matcher)
        device = device_of(matcher, torch.device("cpu"))
        first = (next(self._data.image_batches()), next(self._data.caption_batches()))
        images = encode_image_batches(matcher, first[:1], device)
        texts = encode_caption_batches(matcher, first[1:], device)
        if images.pooled is None or texts.pooled is None:
            raise _no_pooled_vectors(self._data.hard_batches, matcher)
        self._data.batch_sampler.find_neighbours = lambda: self._find(matcher, trainer.strategy)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the neighbours of the running epoch, if it has some."""
        kept = self._data.batch_sampler.neighbours
        if kept is not None:
            checkpoint[_KEY] = {"epoch": kept[0], "neighbours": torch.from_numpy(kept[1].astype(np.int32))}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Give them back to the sampler, before the loader is iterated."""
        if _KEY in checkpoint:
            state = checkpoint[_KEY]
            self._data.batch_sampler.keep_neighbours(state["epoch"], state["neighbours"].numpy().astype(np.int64))

    def _find(self, matcher: Matcher, strategy: Strategy) -> npt.NDArray[np.int64]:
        begun = perf_counter()
        device = device_of(matcher, torch.device("cpu"))
        train = self._data.train
        images = _pooled(encode_image_batches(matcher, self._data.image_batches(), device))
        texts = _pooled(encode_caption_batches(matcher, self._data.caption_batches(), device))
        neighbours = nearest_pairs(
            images.to(device),
            texts.to(device),
            torch.as_tensor(train.caption_to_image, device=device),
            torch.as_tensor(group_texts(train.captions), device=device),
            NEIGHBOURS,
        )
        if not self._told:
            self._told = True
            logger.info(
                "neighbours of %s pairs found by the running model in %.1f s; so again at the begin of every epoch",
                f"{train.num_captions:,}",
                perf_counter() - begun,
            )
        # All must draw the same order, and buffers, as of a batch norm, differ between processes.
        return strategy.broadcast(neighbours)


def check_neighbours(hard_batches: float, matcher: object) -> None:
    """Make sure that a matcher has the vectors that neighbours are found by, before anything is read.

    Raises:
        ConfigError: If there are to be hard batches, and the matcher is a `TokenMatcher`.
    """
    if hard_batches > 0 and isinstance(matcher, TokenMatcher):
        raise _no_pooled_vectors(hard_batches, matcher)


def _no_pooled_vectors(hard_batches: float, matcher: object) -> ConfigError:
    return ConfigError(
        f"data.hard_batches={hard_batches} compares one vector an image with one a caption, and "
        f"{type(matcher).__name__} has none: take a model that pools (model=vse, dual_encoder), or set "
        "data.hard_batches=0"
    )


def _pooled(encoded: Encoded) -> torch.Tensor:
    assert encoded.pooled is not None
    return encoded.pooled
