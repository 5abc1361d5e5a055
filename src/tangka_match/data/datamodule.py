"""Lightning data module: tokenised train and validation splits, with training batches in a resumable order."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from tangka_match.data.checks import (
    check_expected_counts,
    check_loading,
    check_sampling,
    check_train_share,
    check_vocabulary_settings,
)
from tangka_match.data.dataset import (
    CaptionDataset,
    ImageDataset,
    PairDataset,
    collate_captions,
    collate_images,
    collate_pairs,
    pad_tokens,
)
from tangka_match.data.device_features import DeviceFeatures, image_batches, keep_on_device, loading
from tangka_match.data.difficulty import word_rarity
from tangka_match.data.encoding import EncodedCaptions, check_max_tokens, encode_captions
from tangka_match.data.folds import check_folds, divide
from tangka_match.data.joined import check_same_shape, join_splits
from tangka_match.data.mix import OpenedSet, open_extra_sets, parse_mix
from tangka_match.data.run_vocabulary import choose_vocabulary
from tangka_match.data.samplers import ResumableBatchSampler, count_epochs
from tangka_match.data.split import Split, load_split, subsample_images
from tangka_match.data.tokenizer import CaptionTokenizer, JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.data.word_vectors import read_word_vectors
from tangka_match.errors import ConfigError, count
from tangka_match.types import CaptionBatch, ImageBatch, PairedCaptions, RegionTextBatch, WordVectors


class SetWriter(Protocol):
    """Writer of a data set, such as ``demo.writer.DemoWriter``."""

    def ensure(self, root: Path) -> None:
        """Write the data set to ``root`` if it is missing."""
        ...


class RegionTextDataModule(pl.LightningDataModule):
    """Region features and captions for training and validation.

    Args:
        root: Folder of the data set, in the precomp layout.
        tokenizer: Caption tokenizer; ``None`` is ``JiebaTokenizer()``. A tokenizer with its own vocabulary also
            determines the vocabulary, and limits ``max_tokens``.
        writer: Writer that creates a missing data set in ``prepare_data``; ``None`` for existing files.
        vocabulary_path: Vocabulary file (JSON); ``None`` builds one from the training captions of all sets.
        word_vectors_path: Pretrained word vectors as text (see ``read_word_vectors``); ``None`` for none.
        min_count: Minimum number of occurrences in the training captions for a word to enter a built vocabulary.
        character_fallback: Whether a built vocabulary encodes unknown words by their characters, not as ``<unk>``.
        max_tokens: Maximum caption length in tokens, including ``<start>`` and ``<end>``, >= 3; longer captions are
            truncated.
        batch_size: Training pairs per batch on each process.
        eval_batch_size: Images or captions per validation batch.
        num_workers: Number of worker processes, or ``"auto"``; see `loading`. 0 loads in the training process.
        pin_memory: Whether to copy batches to page-locked memory, for faster transfer to a GPU, or ``"auto"``.
        device_features: Whether all training features stay on the device, or ``"auto"``; see `keep_on_device`.
        drop_last: Whether to drop an incomplete last batch of an epoch.
        seed: Seed of the order of the training pairs, >= 0.
        initial_competence: Share of the training pairs, easiest captions first, that the first epoch draws from, in
            (0, 1]; 1 disables the curriculum.
        competence_until: Share of all epochs, in (0, 1], after which all pairs are included.
        hard_batches: Share of each training batch, in [0, 1), that consists of hard negatives mined with the current
            model; > 0 needs the callback ``HardBatches``.
        mix: Extra sets to train on, ``{root: <folder>, share: <share>}`` each: this share of every batch comes from
            their ``train`` split. An epoch visits each pair of the main set once. Images that are also in the main set,
            or in an earlier extra set, are removed.
        expected_counts: Required numbers per split, ``{split: [images, captions]}``.
        val_split, train_split: Names of the validation and of the training split.
        train_share: Share of the images of ``train_split`` to train on, in (0, 1], chosen at random by ``seed``;
            smaller subsets are part of larger ones. A built vocabulary only contains the words of their captions.
        exclude: File of training pairs to exclude (see ``read_excluded``); ``None`` trains on all.
        folds: Number of folds for cross-validation over the images of both splits; ``None`` keeps the splits.
        fold: Index of the held-out fold, from 0.
        fold_val_share: Share of the images of the other folds to validate on during training, in (0, 0.5].

    Attributes (after ``setup``):
        tokenizer: Caption tokenizer.
        vocabulary: Loaded or built vocabulary.
        word_vectors: Pretrained vectors of the vocabulary's words, or ``None``.
        train: Training split, reduced to ``train_share`` and joined with the extra sets.
        val: Validation split.
        held_out: Held-out fold; ``None`` without folds.
        train_sets: Parts of ``train``: the main set, then the extra sets.
        num_regions, feature_dim: Regions per image, and dimensions per region.
        fingerprint: Hash of both splits and the shares of the extra sets, 16 hex digits.
        batch_sampler: Sampler of the training batches. To resume within an epoch, call ``batch_sampler.start_at``
            before the trainer requests the training loader.

    Raises:
        ConfigError: If a setting is out of range.
    """

    vocabulary: Vocabulary
    word_vectors: WordVectors | None
    train: Split
    train_sets: tuple[Split, ...]
    val: Split
    held_out: Split | None
    fingerprint: str
    batch_sampler: ResumableBatchSampler
    _on_device: DeviceFeatures | None = None
    _total_epochs: int | None = None
    _kept_words: tuple[str, ...] = ()
    _extra_sets: list[OpenedSet]
    _train_captions: EncodedCaptions
    _val_captions: EncodedCaptions
    _held_out_captions: EncodedCaptions

    def __init__(
        self,
        root: str,
        *,
        tokenizer: CaptionTokenizer | None = None,
        writer: SetWriter | None = None,
        vocabulary_path: str | None = None,
        word_vectors_path: str | None = None,
        min_count: int = 1,
        character_fallback: bool = False,
        max_tokens: int = 80,
        batch_size: int = 128,
        eval_batch_size: int = 128,
        num_workers: int | str = "auto",
        pin_memory: bool | str = "auto",
        device_features: bool | str = "auto",
        drop_last: bool = True,
        seed: int = 0,
        initial_competence: float = 1.0,
        competence_until: float = 0.5,
        hard_batches: float = 0.0,
        mix: Sequence[Mapping[str, str | float | int]] = (),
        expected_counts: Mapping[str, Sequence[int]] | None = None,
        val_split: str = "val",
        train_split: str = "train",
        train_share: float = 1.0,
        exclude: str | None = None,
        folds: int | None = None,
        fold: int | None = None,
        fold_val_share: float = 0.1,
    ) -> None:
        super().__init__()
        self.tokenizer: CaptionTokenizer = tokenizer or JiebaTokenizer()
        self.mix = parse_mix(mix)
        check_max_tokens(max_tokens)
        check_sampling(
            batch_size=batch_size,
            seed=seed,
            initial_competence=initial_competence,
            competence_until=competence_until,
            hard_batches=hard_batches,
            num_extra_sets=len(self.mix),
        )
        check_train_share(train_share)
        check_folds(folds, fold, fold_val_share)
        check_loading(eval_batch_size, num_workers, pin_memory, device_features)
        check_vocabulary_settings(self.tokenizer.vocabulary is not None, vocabulary_path, min_count)
        self.expected_counts = check_expected_counts(expected_counts or {})
        self.root, self.writer = root, writer
        self.vocabulary_path, self.word_vectors_path = vocabulary_path, word_vectors_path
        self.min_count, self.character_fallback = min_count, character_fallback
        self.max_tokens = min(max_tokens, self.tokenizer.max_tokens or max_tokens)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.pin_memory = num_workers, pin_memory
        self.device_features, self.drop_last = device_features, drop_last
        self.initial_competence, self.competence_until = initial_competence, competence_until
        self.seed, self.hard_batches = seed, hard_batches
        self.val_split, self.train_split = val_split, train_split
        self.train_share, self.exclude = train_share, exclude
        self.folds, self.fold, self.fold_val_share = folds, fold, fold_val_share

    def prepare_data(self) -> None:
        """Write the data set if it is missing and there is a writer."""
        if self.writer is not None:
            self.writer.ensure(Path(self.root))

    def setup(self, stage: str | None = None) -> None:
        """Open both splits, and tokenise and encode their captions, unless this has been done before.

        It may be called without a trainer, to get the sizes that a model needs. When Lightning calls it, the batches
        are split over the trainer's processes.

        Args:
            stage: Lightning's name of the stage; not used.

        Raises:
            DataFormatError: If a file is missing, damaged or not as expected, or the splits are inconsistent.
            ConfigError: If there are fewer training pairs than processes, or an extra set is too small or a duplicate.
        """
        if not hasattr(self, "batch_sampler"):
            self._load()
        if self.trainer is not None:
            self.batch_sampler.shard(self.trainer.global_rank, self.trainer.world_size)
            self.batch_sampler.total_epochs = self._total_epochs or count_epochs(
                self.trainer.max_epochs, self.trainer.max_steps, self.steps_per_epoch
            )

    def keep_words(self, words: Sequence[str]) -> None:
        """Append these words to a built vocabulary, after those of the training captions.

        Args:
            words: Words in the order of their ids; known words and special tokens are skipped.
        """
        self._kept_words = tuple(words)
        if hasattr(self, "batch_sampler"):  # set up before, e.g. for the fingerprint in a sweep: encode again
            del self.batch_sampler

    @property
    def model_sizes(self) -> dict[str, int]:
        """Sizes that a model needs: ``vocab_size``, ``feature_dim`` and ``num_regions``."""
        return {
            "vocab_size": len(self.vocabulary),
            "feature_dim": self.feature_dim,
            "num_regions": self.num_regions,
        }

    @property
    def num_regions(self) -> int:
        """Regions per image, R."""
        return self.train.features.num_regions

    @property
    def feature_dim(self) -> int:
        """Dimensions per region, F."""
        return self.train.features.feature_dim

    @property
    def steps_per_epoch(self) -> int:
        """Training batches per epoch on each process."""
        return len(self.batch_sampler)

    @property
    def summary(self) -> str:
        """One line that describes the training and validation data."""
        main, held, left_out = self.train_sets[0], self.held_out, self.batch_sampler.pairs_left_out
        return (
            f"train {main.num_captions:,} captions of {main.num_images:,} images"
            + "".join(f" and {extra}" for extra in self._extra_sets)
            + f", val {self.val.num_captions:,} of {self.val.num_images:,}"
            + ("" if held is None else f", held out {held.num_captions:,} of {held.num_images:,}")
            + f"; {count(self.steps_per_epoch, 'step')} per epoch"
            + (f", without {count(left_out, 'pair')} (data.drop_last)" if left_out else "")
        )

    def set_total_epochs(self, total_epochs: int) -> None:
        """Set the training length that the curriculum is based on; by default the trainer's.

        Args:
            total_epochs: Number of training epochs, >= 1.

        Raises:
            ConfigError: If it is < 1.
        """
        if total_epochs < 1:
            raise ConfigError(f"total_epochs={total_epochs} must be >= 1.")
        self._total_epochs = total_epochs
        if hasattr(self, "batch_sampler"):
            self.batch_sampler.total_epochs = total_epochs

    def train_dataloader(self) -> "DataLoader[Any]":
        """Return batches of matching pairs, ``RegionTextBatch``, in the order of ``batch_sampler``.

        If the features are kept on the device, the batches have no regions; ``on_after_batch_transfer`` adds them.
        """
        missing = self.trainer is not None and self._on_device is None
        if missing and keep_on_device(self.train.features, self._device, self.device_features):
            self._on_device = DeviceFeatures.load(self.train, self._device)
        return DataLoader(
            PairDataset(self.train, self._train_captions, read_images=self._on_device is None),
            batch_sampler=self.batch_sampler,
            **self._loader_settings(collate_pairs, is_resident=self._on_device is not None),
        )

    def teardown(self, stage: str) -> None:
        """Release the features on the device, so that a later run in this process finds the memory free."""
        self._on_device = None

    def on_after_batch_transfer(self, batch: NamedTuple, dataloader_idx: int) -> NamedTuple:
        """Add the regions to a training batch if the features are kept on the device."""
        if self._on_device is None or not isinstance(batch, RegionTextBatch):
            return batch
        return self._on_device.fill(batch)

    def val_dataloader(self) -> "list[DataLoader[Any]]":
        """Return loaders of all images (``ImageBatch``) and all captions (``CaptionBatch``), in order, per process."""
        return self._gallery_loaders(self.val, self._val_captions)

    def held_out_dataloader(self) -> "list[DataLoader[Any]]":
        """Return loaders of the held-out fold, like those of ``val_dataloader``."""
        assert self.held_out is not None, "data.folds is not set"
        return self._gallery_loaders(self.held_out, self._held_out_captions)

    def image_batches(self) -> "Iterator[ImageBatch]":
        """Yield all training images once, in order; they are not read again if they are kept on the device."""
        return image_batches(self.train, self.eval_batch_size, self._on_device)

    def caption_batches(self) -> "Iterator[CaptionBatch]":
        """Yield all training captions once, in order."""
        captions = CaptionDataset(self._train_captions)
        for start in range(0, len(captions), self.eval_batch_size):
            rows = range(start, min(start + self.eval_batch_size, len(captions)))
            yield collate_captions(captions.__getitems__(rows))

    def training_captions(self) -> PairedCaptions:
        """Return all training captions once, in order, with their sampling weights if there are extra sets."""
        ids, mask = pad_tokens(list(self._train_captions))
        weights = torch.as_tensor(self.batch_sampler.sampling_weights(), dtype=torch.float32) if self.mix else None
        return PairedCaptions(ids, mask, torch.as_tensor(self.train.caption_to_image), self.vocabulary.words, weights)

    def _gallery_loaders(self, split: Split, encoded: EncodedCaptions) -> "list[DataLoader[Any]]":
        images, captions = ImageDataset(split), CaptionDataset(encoded)
        return [
            DataLoader(images, self.eval_batch_size, **self._loader_settings(collate_images)),
            # Captions are in memory already; workers would only copy them.
            DataLoader(captions, self.eval_batch_size, **self._loader_settings(collate_captions, is_resident=True)),
        ]

    @property
    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _loader_settings(self, collate: Callable[..., NamedTuple], *, is_resident: bool = False) -> dict[str, Any]:
        return {
            "collate_fn": collate,
            **loading(self.num_workers, self.pin_memory, self._device, is_resident=is_resident),
            # A loader draws a seed each time it is iterated; use a separate generator, so that dropout is not affected.
            "generator": torch.Generator().manual_seed(self.seed),
        }

    def _load(self) -> None:
        train, val = self._open(self.train_split), self._open(self.val_split)
        check_same_shape(train, val)
        self._extra_sets = open_extra_sets(self.mix, self.root, train, val)
        main, self.val, self.held_out = divide(
            train, val, folds=self.folds, fold=self.fold, val_share=self.fold_val_share, exclude=self.exclude
        )
        main = subsample_images(main, self.train_share, self.seed)
        self.train_sets = (main, *(extra.split for extra in self._extra_sets))
        self.train = join_splits(self.train_sets)
        self._read_captions()
        held_out = () if self.held_out is None else (self.held_out.fingerprint,)
        shares = (str(extra.share) for extra in self._extra_sets)
        hashed = (self.train.fingerprint, self.val.fingerprint, *shares, *held_out)
        self.fingerprint = hashlib.sha256(" ".join(hashed).encode()).hexdigest()[:16]
        self.batch_sampler = ResumableBatchSampler(
            num_pairs=main.num_captions,
            batch_size=self.batch_size,
            seed=self.seed,
            extra_sets=[(extra.split.num_captions, extra.share) for extra in self._extra_sets],
            difficulty=word_rarity(self._train_captions) if self.initial_competence < 1 else None,
            initial_competence=self.initial_competence,
            competence_until=self.competence_until,
            total_epochs=self._total_epochs,
            hard_batches=self.hard_batches,
            drop_last=self.drop_last,
        )

    def _read_captions(self) -> None:
        """Tokenise the captions, load or build the vocabulary, and encode the captions."""
        tokenised = [self._tokenise(split) for split in self.train_sets]
        words = chain.from_iterable(tokenised)
        self.vocabulary = choose_vocabulary(
            words,
            self.tokenizer.vocabulary,
            self.vocabulary_path,
            min_count=self.min_count,
            character_fallback=self.character_fallback,
            kept=self._kept_words,
        )
        self.word_vectors = (
            None if self.word_vectors_path is None else read_word_vectors(self.word_vectors_path, self.vocabulary.words)
        )
        self._train_captions = EncodedCaptions.join(
            [self._encode(split, words) for split, words in zip(self.train_sets, tokenised, strict=True)]
        )
        self._val_captions = self._encode(self.val, self._tokenise(self.val))
        if self.held_out is not None:
            self._held_out_captions = self._encode(self.held_out, self._tokenise(self.held_out))

    def _open(self, split: str) -> Split:
        return load_split(self.root, split, *self.expected_counts.get(split, (None, None)))

    def _tokenise(self, split: Split) -> list[list[str]]:
        return [self.tokenizer(caption) for caption in split.captions]

    def _encode(self, split: Split, tokenised: list[list[str]]) -> EncodedCaptions:
        return encode_captions(tokenised, self.vocabulary, self.max_tokens, split.captions_path)
