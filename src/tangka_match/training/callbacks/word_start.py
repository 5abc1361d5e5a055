"""What a matcher learns of its words before the first step: their characters, and pretrained vectors."""

import logging

import pytorch_lightning as pl

from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.errors import ConfigError
from tangka_match.types import WordAware

logger = logging.getLogger(__name__)


class WordStart(pl.Callback):
    """Shows a ``WordAware`` matcher the vocabulary, and the vectors of ``data.word_vectors_path``, when a run begins.

    A run that goes on from a checkpoint has all of it from there.

    Args:
        data: Set up.
        resumed: Whether the run goes on from a checkpoint.
    """

    def __init__(self, data: RegionTextDataModule, *, resumed: bool) -> None:
        self._data = data
        self._resumed = resumed

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Show the words, before Lightning moves the model to its device and averages begin.

        Raises:
            ConfigError: There are vectors, and the model takes none, or none of these dimensions.
        """
        if stage != "fit" or self._resumed:
            return
        vectors = self._data.word_vectors
        if isinstance(pl_module.matcher, WordAware):
            pl_module.matcher.learn_words(self._data.vocabulary.words, vectors)
            if vectors is not None:  # what the reader said was said before this run had a log
                known = int(vectors.known.sum())
                logger.info("%s of %s words start from pretrained vectors", f"{known:,}", f"{len(vectors.known):,}")
        elif vectors is not None:
            raise ConfigError(
                f"data.word_vectors_path is set, and {type(pl_module.matcher).__name__} takes no word vectors: "
                "set it to null, or take model=dual_encoder"
            )
