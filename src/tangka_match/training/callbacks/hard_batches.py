"""Hard negatives mined with the current model, for batches of pairs that are hard to distinguish."""

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
"""Neighbours kept per pair: many more than a batch needs, because the nearest may be in other batches already."""

_KEY = "hard_batches"


class HardBatches(pl.Callback):
    """Callback that mines hard negatives: the nearest neighbours of all training pairs by the current model.

    Neighbours are found at the start of every epoch from the second on, with the current weights and not with their
    average, and without drawing random numbers. A checkpoint within an epoch holds the neighbours of that epoch. In a
    distributed run the main process searches, and the others wait for what it finds.

    Args:
        data: Data module, set up, with ``hard_batches`` > 0.
    """

    def __init__(self, data: RegionTextDataModule) -> None:
        self._data = data
        self._is_logged = False

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check with one batch that the model has pooled embeddings, and register the search with the sampler.

        Raises:
            ConfigError: If the model has no single vector per image and per caption.
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
        self._data.batch_sampler.find_neighbours = lambda: self._share(matcher, trainer.strategy)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the neighbours of the current epoch, if there are any."""
        kept = self._data.batch_sampler.neighbours
        if kept is not None:
            checkpoint[_KEY] = {"epoch": kept[0], "neighbours": torch.from_numpy(kept[1].astype(np.int32))}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Return the neighbours to the sampler before the data loader is iterated."""
        if _KEY in checkpoint:
            state = checkpoint[_KEY]
            self._data.batch_sampler.keep_neighbours(state["epoch"], state["neighbours"].numpy().astype(np.int64))

    def _share(self, matcher: Matcher, strategy: Strategy) -> npt.NDArray[np.int64]:
        """Search in one process: all of them need the same neighbours, and would read the same features."""
        found = self._find(matcher) if strategy.is_global_zero else np.empty((0, 0), np.int64)
        return strategy.broadcast(found)

    def _find(self, matcher: Matcher) -> npt.NDArray[np.int64]:
        started = perf_counter()
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
        if not self._is_logged:
            self._is_logged = True
            logger.info(
                "hard negatives of %s pairs mined with the current model in %.1f s; repeated in every epoch",
                f"{train.num_captions:,}",
                perf_counter() - started,
            )
        return neighbours


def check_neighbours(hard_batches: float, matcher: object) -> None:
    """Check that a matcher has the embeddings that hard negatives are mined with.

    Args:
        hard_batches: Value of ``data.hard_batches``.
        matcher: Model.

    Raises:
        ConfigError: If ``hard_batches`` > 0 and the matcher is a `TokenMatcher`.
    """
    if hard_batches > 0 and isinstance(matcher, TokenMatcher):
        raise _no_pooled_vectors(hard_batches, matcher)


def _no_pooled_vectors(hard_batches: float, matcher: object) -> ConfigError:
    return ConfigError(
        f"data.hard_batches={hard_batches} needs one vector per image and per caption, and {type(matcher).__name__} "
        "has none: use a model that pools (model=vse, dual_encoder), or set data.hard_batches=0"
    )


def _pooled(encoded: Encoded) -> torch.Tensor:
    assert encoded.pooled is not None
    return encoded.pooled
