"""A trained model with its vocabulary and tokenizer: scores of regions and captions from a single checkpoint."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import Progress, track
from torch import Tensor, nn

from tangka_match.data.dataset import CaptionDataset, ImageDataset, ImageRows, collate_captions, collate_images
from tangka_match.data.encoding import EncodedCaptions, encode_captions
from tangka_match.data.regions import real_regions
from tangka_match.data.split import Split
from tangka_match.data.tokenizer import tokenizer_from_settings
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError, ConfigError, DataFormatError, ShapeError
from tangka_match.models.registry import build_matcher
from tangka_match.retrieval.encode import encode_caption_batches, encode_image_batches
from tangka_match.retrieval.metadata import METADATA_KEY, matcher_weights, read_checkpoint
from tangka_match.retrieval.score_matrix import score_matrix
from tangka_match.types import CaptionBatch, Encoded, ImageBatch, Matcher

Rows = np.ndarray[Any, np.dtype[np.int64]]
Batch = TypeVar("Batch", ImageBatch, CaptionBatch)
PROGRESS_BATCHES = 20
"""Number of batches from which encoding shows a progress bar."""
PROGRESS_PAIRS = 100_000
"""Number of image–caption pairs from which scoring shows a progress bar."""
DTYPES = (torch.float32, torch.bfloat16)


class TrainedMatcher:
    """Model of a checkpoint with its vocabulary and tokenizer, created by ``tangka_match.load``.

    Args:
        matcher: Model, on its device.
        metadata: Metadata of the checkpoint, see ``retrieval.metadata``.
        batch_size: Images or captions encoded at once.
        dtype: Precision of the computation, whatever that of training: ``torch.float32``, or ``torch.bfloat16``, which
            is faster on recent hardware, but makes close scores tie.

    Raises:
        ConfigError: If ``dtype`` is neither, or ``batch_size`` is below 1.
    """

    def __init__(
        self,
        matcher: Matcher,
        metadata: dict[str, Any],
        batch_size: int = 128,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"dtype={dtype}: allowed are {' and '.join(map(str, DTYPES))}")
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} must be >= 1")
        self.matcher = matcher
        self.dtype = dtype
        self.metadata = metadata
        self.batch_size = batch_size
        self.vocabulary = Vocabulary.from_dict(metadata["vocabulary"])
        self.tokenizer = tokenizer_from_settings(metadata["tokenizer"])

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 128,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """Load a model from a checkpoint, without executing anything in the file.

        Args:
            path: Path of a ``best.ckpt`` or ``last.ckpt``.
            device: Device of the computation.
            batch_size: Images or captions encoded at once.
            dtype: Precision of the computation, ``torch.float32`` or ``torch.bfloat16``.

        Raises:
            ConfigError: If ``dtype`` or ``batch_size`` is not allowed.
            CheckpointError: If the file is missing, damaged or unsafe, or its weights do not fit its model.
        """
        checkpoint = read_checkpoint(Path(path))
        metadata = checkpoint[METADATA_KEY]
        matcher = build_matcher(
            metadata["model"],
            vocab_size=len(metadata["vocabulary"]["word2idx"]),
            feature_dim=metadata["feature_dim"],
            num_regions=metadata["num_regions"],
        )
        assert isinstance(matcher, nn.Module)
        try:
            matcher.load_state_dict(matcher_weights(checkpoint))
        except (RuntimeError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path}: its weights do not fit the model in its metadata: {error}") from error
        return cls(matcher.to(device).eval(), metadata, batch_size, dtype)

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        assert isinstance(self.matcher, nn.Module)
        return next(self.matcher.parameters()).device

    def encode_images(self, regions: Iterable[Any] | np.ndarray[Any, Any] | Tensor) -> Encoded:
        """Encode images.

        Args:
            regions: Region features, (I, R, F): an array, a tensor, or any iterable of (R, F) images with the same R.
                All-zero regions are padding.

        Returns:
            I encoded images, float32 on the CPU.

        Raises:
            ShapeError: If the features are not (I, R, F) with the F that the model was trained on.
            DataFormatError: If there are no images.
        """
        array = _as_array(regions)
        if array.ndim != 3 or array.shape[2] != self.metadata["feature_dim"]:
            raise ShapeError(
                f"regions has shape {array.shape}; this model takes (images, regions, {self.metadata['feature_dim']})"
            )
        rows = np.arange(len(array))
        batches = (
            collate_images(ImageRows(array[block], real_regions(array[block])[0], block))
            for block in self._blocks(rows)
        )
        shown = self._shown(batches, len(rows), "encoding images")
        return encode_image_batches(self.matcher, shown, self.device, self.dtype)

    def encode_texts(self, captions: Iterable[str]) -> Encoded:
        """Encode Chinese captions; words missing from the vocabulary become ``<unk>``.

        Args:
            captions: C captions.

        Returns:
            C encoded captions, float32 on the CPU.

        Raises:
            DataFormatError: If there are no captions, a caption has no words, or ``captions`` is a single string.
        """
        if isinstance(captions, str):  # also iterable: each character would become a caption
            raise DataFormatError(
                f"captions is a single string, {captions[:20]!r}; give a list of captions: [{captions[:20]!r}]"
            )
        texts = list(captions)
        return self._encode_captions(self.tokenise(texts, "captions"))

    def encode_words(self, words: list[list[str]], source: str) -> Encoded:
        """Encode captions that are given as lists of words; ``source`` names them in messages."""
        return self._encode_captions(self._encoded_words(words, source))

    def similarity(
        self, images: Encoded | Iterable[Any] | np.ndarray[Any, Any] | Tensor, texts: Encoded | Iterable[str]
    ) -> Float[Tensor, "I C"]:
        """Score every image against every caption.

        Args:
            images: Region features as for `encode_images`, or encoded images.
            texts: Captions, or encoded captions.

        Returns:
            Scores, (I, C) float32 on the CPU: rows images, columns captions, higher = closer.
        """
        encoded_images = images if isinstance(images, Encoded) else self.encode_images(images)
        encoded_texts = texts if isinstance(texts, Encoded) else self.encode_texts(texts)
        if len(encoded_images) * len(encoded_texts) < PROGRESS_PAIRS:
            return score_matrix(self.matcher, encoded_images, encoded_texts, dtype=self.dtype)
        with Progress(transient=True) as bar:
            task = bar.add_task("scoring", total=len(encoded_texts))
            return score_matrix(
                self.matcher,
                encoded_images,
                encoded_texts,
                dtype=self.dtype,
                progress=lambda done, _: bar.update(task, completed=done),
            )

    def tokenise(self, captions: Iterable[str], source: str | Path) -> EncodedCaptions:
        """Tokenise captions with this model's tokenizer and vocabulary; ``source`` names them in messages."""
        return self._encoded_words([self.tokenizer(caption) for caption in captions], source)

    def encode_split(
        self, split: Split, images: Rows | None = None, captions: Rows | None = None
    ) -> tuple[Encoded, Encoded]:
        """Encode images and captions of a split, reading the features batch by batch.

        Args:
            split: Opened split.
            images: Ascending rows of the images to encode; all if ``None``.
            captions: Indices of the captions to encode; all if ``None``.

        Raises:
            CheckpointError: If the features or captions of the split do not fit the model.
        """
        texts = split.captions if captions is None else [split.captions[int(c)] for c in captions]
        words = [self.tokenizer(text) for text in texts]
        self._check(split, words)
        dataset = ImageDataset(split)
        rows = np.arange(len(dataset)) if images is None else images
        batches = (collate_images(dataset.__getitems__(block)) for block in self._blocks(rows))
        shown = self._shown(batches, len(rows), f"encoding images of {split.name}")
        encoded = encode_image_batches(self.matcher, shown, self.device, self.dtype)
        return encoded, self._encode_captions(self._encoded_words(words, split.captions_path))

    def check_split(self, split: Split) -> None:
        """Check that the model can encode a split.

        Raises:
            CheckpointError: If its features or captions do not fit the model.
        """
        self._check(split, [self.tokenizer(text) for text in split.captions])

    def encode_image_blocks(self, split: Split, start: int = 0) -> Iterator[tuple[ImageRows, Encoded]]:
        """Read and encode the images of a split block by block, ``batch_size`` images each.

        Args:
            split: Opened split.
            start: Row of the first image.

        Raises:
            CheckpointError: If the features of the split do not fit the model.
        """
        self._check_features(split)
        dataset = ImageDataset(split)
        for block in self._blocks(np.arange(start, len(dataset))):
            rows = dataset.__getitems__(block)
            yield rows, encode_image_batches(self.matcher, [collate_images(rows)], self.device, self.dtype)

    def unknown_words(self, captions: Iterable[str]) -> float:
        """Compute the share of the captions' words that are missing from the vocabulary, in percent."""
        return self.vocabulary.unknown_share([self.tokenizer(caption) for caption in captions])

    def _encoded_words(self, words: list[list[str]], source: str | Path) -> EncodedCaptions:
        return encode_captions(words, self.vocabulary, self.metadata["max_tokens"], source)

    def _encode_captions(self, encoded: EncodedCaptions) -> Encoded:
        """Encode captions in batches of similar length, which reduces padding."""
        dataset = CaptionDataset(encoded)
        by_length = np.argsort(np.diff(encoded.offsets), kind="stable")
        batches = (collate_captions(dataset.__getitems__(block)) for block in self._blocks(by_length))
        shown = self._shown(batches, len(dataset), "encoding captions")
        return encode_caption_batches(self.matcher, shown, self.device, self.dtype)

    def _blocks(self, rows: Rows) -> Iterator[Any]:
        return (rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size))

    def _shown(self, batches: Iterable[Batch], items: int, what: str) -> Iterable[Batch]:
        """Wrap batches in a progress bar if there are many."""
        number = -(-items // self.batch_size)
        return track(batches, what, total=number, transient=True) if number >= PROGRESS_BATCHES else batches

    def _check_features(self, split: Split) -> None:
        """Refuse features that do not fit this model."""
        trained = f"the checkpoint of run {self.metadata['run_id']}"
        advice = "give the data set of that run, or features extracted with the same settings"
        found, wanted = split.features.feature_dim, self.metadata["feature_dim"]
        if found != wanted:
            raise CheckpointError(
                f"{split.features.path} has features of {found} dimensions, but {trained} was trained on {wanted}: "
                f"{advice}"
            )
        regions, most = split.features.num_regions, self.metadata["num_regions"]
        if regions > most:
            raise CheckpointError(
                f"{split.features.path} has {regions} regions per image, but {trained} was trained on {most}: {advice} "
                "(fewer regions are allowed)"
            )

    def _check(self, split: Split, words: list[list[str]]) -> None:
        """Refuse a split that does not fit this model."""
        self._check_features(split)
        if self.vocabulary.unknown_share(words) == 100:
            raise CheckpointError(
                f"{split.captions_path}: none of the words of its {len(words)} captions is in the vocabulary of the "
                f"checkpoint of run {self.metadata['run_id']} ({len(self.vocabulary):,} words); check the language of "
                "the captions and, for a converted checkpoint, that its vocabulary belongs to it"
            )


def _as_array(regions: Iterable[Any] | np.ndarray[Any, Any] | Tensor) -> np.ndarray[Any, Any]:
    if isinstance(regions, Tensor):
        regions = regions.detach().cpu().numpy()
    array = regions if isinstance(regions, np.ndarray) else np.asarray(list(regions))
    if array.size == 0:
        raise DataFormatError("regions is empty; give at least one image of (regions, dimensions)")
    return array if array.dtype in (np.float16, np.float32) else array.astype(np.float32)
