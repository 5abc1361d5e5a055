"""A trained model with everything it needs to be used: from one checkpoint to scores of regions and captions."""

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
LONG = 20  # batches from which a progress bar is shown
MANY_PAIRS = 100_000  # image–caption pairs from which one is shown
DTYPES = (torch.float32, torch.bfloat16)


class TrainedMatcher:
    """What a checkpoint holds, ready for use: the model, its vocabulary and its tokenizer.

    Made by ``tangka_match.load``. Scores are computed in float32 unless bfloat16 is asked for, whatever the precision
    of training was.

    Args:
        matcher: The model, on its device.
        metadata: Of the checkpoint, see ``retrieval.metadata``.
        batch_size: Images or captions encoded at once.
        dtype: ``torch.float32``, or ``torch.bfloat16``: faster on recent hardware, but close scores may tie.

    Raises:
        ConfigError: If ``dtype`` is another one, or ``batch_size`` is below 1.
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
            raise ConfigError(f"batch_size={batch_size}: give at least 1")
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
        """Rebuild a model from a checkpoint; nothing in the file is executed.

        Args:
            path: Of a ``best.ckpt`` or ``last.ckpt``.
            device: Where to compute.
            batch_size: Images or captions encoded at once.
            dtype: Of the computation.

        Raises:
            ConfigError: If ``dtype`` or ``batch_size`` is not allowed.
            CheckpointError: If the file is missing, damaged, unsafe, or its parts do not fit each other.
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
        except RuntimeError as error:
            raise CheckpointError(f"{path}: its weights do not fit the model that it describes: {error}") from error
        return cls(matcher.to(device).eval(), metadata, batch_size, dtype)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        assert isinstance(self.matcher, nn.Module)
        return next(self.matcher.parameters()).device

    def encode_images(self, regions: Iterable[Any] | np.ndarray[Any, Any] | Tensor) -> Encoded:
        """Encode images, in float32 on the CPU.

        Args:
            regions: (I, R, F) region features, as an array, a tensor, or any iterable of (R, F) images with the same R;
                all-zero regions are padding.

        Raises:
            ShapeError: If the features have other axes than the model was trained on.
            DataFormatError: If there are none.
        """
        array = _as_array(regions)
        if array.ndim != 3 or array.shape[2] != self.metadata["feature_dim"]:
            raise ShapeError(
                f"regions are {array.shape}; this model takes (images, regions, {self.metadata['feature_dim']})"
            )
        rows = np.arange(len(array))
        batches = (
            collate_images(ImageRows(array[block], real_regions(array[block])[0], block))
            for block in self._blocks(rows)
        )
        shown = self._shown(batches, len(rows), "encoding images")
        return encode_image_batches(self.matcher, shown, self.device, self.dtype)

    def encode_texts(self, captions: Iterable[str]) -> Encoded:
        """Encode Chinese captions, in float32 on the CPU; words that the vocabulary lacks become ``<unk>``.

        Raises:
            DataFormatError: If there are no captions, one has no word, or it is a single string.
        """
        if isinstance(captions, str):  # is iterable too: every character would become a caption
            raise DataFormatError(
                f"captions are one string, {captions[:20]!r}; give a list of captions: [{captions[:20]!r}]"
            )
        texts = list(captions)
        return self._encode_captions(self.tokenise(texts, "captions"))

    def similarity(
        self, images: Encoded | Iterable[Any] | np.ndarray[Any, Any] | Tensor, texts: Encoded | Iterable[str]
    ) -> Float[Tensor, "I C"]:
        """Scores of every image against every caption, higher = closer.

        Args:
            images: Region features as ``encode_images`` takes them, or what it returned.
            texts: Captions, or what ``encode_texts`` returned.
        """
        encoded_images = images if isinstance(images, Encoded) else self.encode_images(images)
        encoded_texts = texts if isinstance(texts, Encoded) else self.encode_texts(texts)
        if len(encoded_images) * len(encoded_texts) < MANY_PAIRS:
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
        """Captions as token ids of this model's vocabulary; ``source`` names them in messages."""
        return self._encoded_words([self.tokenizer(caption) for caption in captions], source)

    def encode_split(
        self, split: Split, images: Rows | None = None, captions: Rows | None = None
    ) -> tuple[Encoded, Encoded]:
        """Encode images and captions of a split, reading the features a batch at a time.

        Args:
            split: Opened.
            images: Ascending rows of the images to encode; all where ``None``.
            captions: Numbers of the captions to encode; all where ``None``.

        Raises:
            CheckpointError: If the split's features or words are not those that the model was trained on.
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

    def unknown_words(self, captions: Iterable[str]) -> float:
        """Share of the captions' words that the vocabulary lacks, in percent."""
        return self.vocabulary.unknown_share([self.tokenizer(caption) for caption in captions])

    def _encoded_words(self, words: list[list[str]], source: str | Path) -> EncodedCaptions:
        return encode_captions(words, self.vocabulary, self.metadata["max_tokens"], source)

    def _encode_captions(self, encoded: EncodedCaptions) -> Encoded:
        """Batches of captions of similar length, so that little padding is computed."""
        dataset = CaptionDataset(encoded)
        by_length = np.argsort(np.diff(encoded.offsets), kind="stable")
        batches = (collate_captions(dataset.__getitems__(block)) for block in self._blocks(by_length))
        shown = self._shown(batches, len(dataset), "encoding captions")
        return encode_caption_batches(self.matcher, shown, self.device, self.dtype)

    def _blocks(self, rows: Rows) -> Iterator[Any]:
        return (rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size))

    def _shown(self, batches: Iterable[Batch], items: int, what: str) -> Iterable[Batch]:
        """The same batches, with a progress bar where there are many."""
        number = -(-items // self.batch_size)
        return track(batches, what, total=number, transient=True) if number >= LONG else batches

    def _check(self, split: Split, words: list[list[str]]) -> None:
        """Refuse a split that this model was not made for."""
        trained = f"the checkpoint of run {self.metadata['run_id']}"
        mend = "give the set that it belongs to, or features extracted with the same settings"
        found, wanted = split.features.feature_dim, self.metadata["feature_dim"]
        if found != wanted:
            raise CheckpointError(
                f"{split.features.path} has features of {found} dimensions, but {trained} was trained on {wanted}: "
                f"{mend}"
            )
        regions, most = split.features.num_regions, self.metadata["num_regions"]
        if regions > most:
            raise CheckpointError(
                f"{split.features.path} has {regions} regions an image, but {trained} was trained on {most}: {mend} "
                "(fewer regions are fine)"
            )
        if self.vocabulary.unknown_share(words) == 100:
            raise CheckpointError(
                f"{split.captions_path}: not one word of its {len(words)} captions is in the vocabulary of {trained} "
                f"({len(self.vocabulary):,} words): captions in another language, or a converted checkpoint with the "
                "vocabulary of another set"
            )


def _as_array(regions: Iterable[Any] | np.ndarray[Any, Any] | Tensor) -> np.ndarray[Any, Any]:
    if isinstance(regions, Tensor):
        regions = regions.detach().cpu().numpy()
    array = regions if isinstance(regions, np.ndarray) else np.asarray(list(regions))
    if array.size == 0:
        raise DataFormatError("regions hold nothing; give at least one image of (regions, dimensions)")
    return array if array.dtype in (np.float16, np.float32) else array.astype(np.float32)
