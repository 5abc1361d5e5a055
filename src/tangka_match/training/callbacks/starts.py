"""Callbacks that prepare a matcher before the first step: closed-form fits, and word vectors."""

import logging
from collections.abc import Iterator
from time import perf_counter

import pytorch_lightning as pl
from torch import Tensor

from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.errors import ConfigError
from tangka_match.types import FittedMatcher, WordAware

logger = logging.getLogger(__name__)


class ClosedFormStart(pl.Callback):
    """Callback that fits a ``FittedMatcher`` to the training pairs before the first step.

    A run that continues from a checkpoint has the fitted weights already. All processes of a distributed run fit the
    same pairs with the same seed.

    Args:
        data: Data module, set up.
        resumed: Whether the run continues from a checkpoint.
    """

    def __init__(self, data: RegionTextDataModule, *, resumed: bool) -> None:
        self._data = data
        self._resumed = resumed

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Fit before Lightning moves the model to its device and weight averaging starts."""
        if stage != "fit" or self._resumed or not isinstance(pl_module.matcher, FittedMatcher):
            return
        begun = perf_counter()
        chosen = pl_module.matcher.fit(self._images, self._data.training_captions())
        said = ", ".join(f"{name} {value:g}" for name, value in chosen.items())
        logger.info("fitted in closed form in %.0f s: %s", perf_counter() - begun, said)

    def _images(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((batch.regions.float(), batch.region_mask) for batch in self._data.image_batches())


class WordStart(pl.Callback):
    """Callback that gives a ``WordAware`` matcher the vocabulary and the vectors of ``data.word_vectors_path``.

    A run that continues from a checkpoint has both already.

    Args:
        data: Data module, set up.
        resumed: Whether the run continues from a checkpoint.
    """

    def __init__(self, data: RegionTextDataModule, *, resumed: bool) -> None:
        self._data = data
        self._resumed = resumed

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Pass the words on before Lightning moves the model to its device and weight averaging starts.

        Raises:
            ConfigError: If there are vectors, and the model takes none or none of these dimensions.
        """
        if stage != "fit" or self._resumed:
            return
        vectors = self._data.word_vectors
        if isinstance(pl_module.matcher, WordAware):
            pl_module.matcher.learn_words(self._data.vocabulary.words, vectors)
            if vectors is not None:
                known = int(vectors.known.sum())
                logger.info("%s of %s words start from pretrained vectors", f"{known:,}", f"{len(vectors.known):,}")
        elif vectors is not None:
            raise ConfigError(
                f"data.word_vectors_path is set, but {type(pl_module.matcher).__name__} takes no word vectors: "
                "set it to null, or use model=dual_encoder"
            )
