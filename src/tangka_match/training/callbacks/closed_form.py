"""The closed-form start: a matcher that can be fitted is fitted before the first step."""

import logging
from collections.abc import Iterator
from time import perf_counter

import pytorch_lightning as pl
from torch import Tensor

from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.types import FittedMatcher

logger = logging.getLogger(__name__)


class ClosedFormStart(pl.Callback):
    """Fits a ``FittedMatcher`` to the training pairs when a run begins; other matchers are left alone.

    A run that goes on from a checkpoint has its weights from there. Each process of a distributed run fits the same
    pairs with the same seed.

    Args:
        data: Set up.
        resumed: Whether the run goes on from a checkpoint.
    """

    def __init__(self, data: RegionTextDataModule, *, resumed: bool) -> None:
        self._data = data
        self._resumed = resumed

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Fit, before Lightning moves the model to its device and averages begin."""
        if stage != "fit" or self._resumed or not isinstance(pl_module.matcher, FittedMatcher):
            return
        begun = perf_counter()
        chosen = pl_module.matcher.fit(self._images, self._data.training_captions())
        said = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
        logger.info("fitted in closed form in %.0f s: %s", perf_counter() - begun, said)

    def _images(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((batch.regions.float(), batch.region_mask) for batch in self._data.image_batches())
