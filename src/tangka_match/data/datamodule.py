"""The Lightning data module: two splits, tokenised once, and batches in an order that can be resumed."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from tangka_match.data.dataset import (
    CaptionDataset,
    ImageDataset,
    PairDataset,
    collate_captions,
    collate_images,
    collate_pairs,
    pad_tokens,
)
from tangka_match.data.difficulty import word_rarity
from tangka_match.data.encoding import EncodedCaptions, check_max_tokens, encode_captions
from tangka_match.data.joined import check_same_shape, join_splits
from tangka_match.data.mix import OpenedSet, open_further_sets, read_mix
from tangka_match.data.module_settings import check_expected_counts, check_loading, check_vocabulary_settings
from tangka_match.data.resident import ResidentFeatures, worth_keeping
from tangka_match.data.samplers import ResumableBatchSampler, check_sampling
from tangka_match.data.split import Split, check_share, load_split, take_share
from tangka_match.data.tokenizer import CaptionTokenizer, JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.data.word_vectors import read_word_vectors
from tangka_match.errors import ConfigError
from tangka_match.types import CaptionBatch, ImageBatch, PairedCaptions, RegionTextBatch, WordVectors


class SetWriter(Protocol):
    """Something that can write a data set, such as ``data.demo.writer.DemoWriter``."""

    def ensure(self, root: Path) -> None:
        """Write the set to ``root``, unless it is there already."""
        ...


class RegionTextDataModule(pl.LightningDataModule):
    """Region features and captions for training and validation.

    Args:
        root: Folder of the data set, in the precomp layout.
        tokenizer: Cuts captions into words; ``JiebaTokenizer()`` where ``None``. One with a vocabulary of its own
            decides the vocabulary, and how many tokens of a caption are read at most.
        writer: Writes the set in ``prepare_data`` when it is missing; ``None`` where the files are the user's own.
        vocabulary_path: A vocabulary as JSON; built from the captions trained on, of all sets, where ``None``.
        word_vectors_path: Pretrained vectors as text, which `read_word_vectors` reads; ``None`` for none.
        min_count: Fewest occurrences of a word in the training captions for it to enter a vocabulary that is built.
        max_tokens: Longest caption, in tokens with ``<start>`` and ``<end>``; longer ones are cut. At least 3.
        batch_size: Pairs a training batch, on each process.
        eval_batch_size: Images, or captions, a validation batch.
        num_workers: Processes that read ahead; 0 reads in the training process.
        pin_memory: Copy batches to page-locked memory, which speeds up the way to a GPU.
        device_features: Keep the training features on the device, so that batches are indices: ``True``, ``False``, or
            ``"auto"``, on a GPU where they take at most ``resident.SHARE_OF_MEMORY`` of its free memory.
        drop_last: Leave out the last training batch of an epoch where it is short.
        seed: Fixes the order of the training pairs; 0 or more.
        initial_competence: Share of the training pairs, easiest captions first, that the first epoch draws from, in
            (0, 1]; 1 is plain shuffling.
        competence_until: Share of all epochs, in (0, 1], after which all pairs take part.
        hard_batches: Share of each training batch, in [0, 1), that are neighbours of its other pairs by the running
            model; more than 0 needs the callback ``HardBatches``.
        mix: Further sets to train on, ``{root: <folder>, share: <share>}`` each: that share of the pairs of every batch
            comes from the ``train`` split in that folder, the rest from the run's own. An epoch goes once through the
            run's own pairs. A further set is used without the images that the run's own, or a set before it, holds too.
        expected_counts: ``{split: [images, captions]}``, numbers that a split must have.
        val_split: Split to validate on.
        train_split: Split to train on.
        train_share: Share of the images of ``train_split`` to train on, in (0, 1], drawn by ``seed``; smaller shares
            are parts of larger ones. Of the set's captions, a vocabulary is built from theirs alone.

    Attributes (after ``setup``):
        tokenizer: As given, or the default.
        vocabulary: As loaded or built.
        word_vectors: Of the vocabulary's words, if there is a file of them.
        train, val: The two splits, ``train`` cut to its share and joined with the further sets.
        train_sets: The parts of ``train``: the run's own, then the further ones.
        num_regions, feature_dim: Shape of an image, the same in all of them.
        fingerprint: 16 hex digits over both splits, and the shares of further sets.
        batch_sampler: Order of the training batches; ``batch_sampler.start_at`` resumes in the middle of an epoch, and
            must be called before the trainer asks for the training loader.

    Raises:
        ConfigError: If a setting is out of range.
    """

    vocabulary: Vocabulary
    word_vectors: WordVectors | None
    train: Split
    train_sets: tuple[Split, ...]
    val: Split
    fingerprint: str
    batch_sampler: ResumableBatchSampler
    _resident: ResidentFeatures | None = None
    _total_epochs: int | None = None
    _kept_words: tuple[str, ...] = ()
    _further_sets: list[OpenedSet]
    _train_captions: EncodedCaptions
    _val_captions: EncodedCaptions

    def __init__(
        self,
        root: str,
        *,
        tokenizer: CaptionTokenizer | None = None,
        writer: SetWriter | None = None,
        vocabulary_path: str | None = None,
        word_vectors_path: str | None = None,
        min_count: int = 1,
        max_tokens: int = 80,
        batch_size: int = 128,
        eval_batch_size: int = 128,
        num_workers: int = 0,
        pin_memory: bool = False,
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
    ) -> None:
        super().__init__()
        self.tokenizer: CaptionTokenizer = tokenizer or JiebaTokenizer()
        self.mix = read_mix(mix)
        check_max_tokens(max_tokens)
        check_sampling(
            batch_size=batch_size,
            seed=seed,
            initial_competence=initial_competence,
            competence_until=competence_until,
            hard_batches=hard_batches,
            further_sets=len(self.mix),
        )
        check_share(train_share)
        check_loading(eval_batch_size, num_workers, device_features)
        check_vocabulary_settings(self.tokenizer, vocabulary_path, min_count)
        self.expected_counts = check_expected_counts(expected_counts or {})
        self.root = root
        self.writer = writer
        self.vocabulary_path = vocabulary_path
        self.word_vectors_path = word_vectors_path
        self.min_count = min_count
        self.max_tokens = min(max_tokens, self.tokenizer.max_tokens or max_tokens)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.pin_memory = pin_memory
        self.device_features = device_features
        self.drop_last = drop_last
        self.seed = seed
        self.initial_competence = initial_competence
        self.competence_until = competence_until
        self.hard_batches = hard_batches
        self.val_split, self.train_split = val_split, train_split
        self.train_share = train_share

    def prepare_data(self) -> None:
        """Let the writer, if there is one, write the set when it is missing."""
        if self.writer is not None:
            self.writer.ensure(Path(self.root))

    def setup(self, stage: str | None = None) -> None:
        """Open both splits, and tokenise and encode their captions. Calling it again reads nothing again.

        It may be called before there is a trainer, to learn the sizes a model needs; Lightning calls it once more, and
        the order of the batches is then dealt out to the trainer's processes.

        Args:
            stage: Lightning's name of the stage; all of them need the same.

        Raises:
            DataFormatError: If a file is missing, damaged or not as expected, or if the splits do not fit each other.
            ConfigError: If the training split does not fill a batch.
        """
        if not hasattr(self, "batch_sampler"):
            self._load()
        if self.trainer is not None:
            self.batch_sampler.share_out(self.trainer.global_rank, self.trainer.world_size)
            self.batch_sampler.total_epochs = self._total_epochs or _epochs_of(self.trainer, self.steps_per_epoch)

    def keep_words(self, words: Sequence[str]) -> None:
        """Let a vocabulary that is built have these words too, after those of the training captions.

        Args:
            words: In the order of their ids; known ones and the special ones may be among them.
        """
        self._kept_words = tuple(words)
        if hasattr(self, "batch_sampler"):  # a sweep has set it up to learn the fingerprint: encode anew
            del self.batch_sampler

    @property
    def model_sizes(self) -> dict[str, int]:
        """What a model has to know of the data: ``vocab_size``, ``feature_dim`` and ``num_regions``."""
        return {
            "vocab_size": len(self.vocabulary),
            "feature_dim": self.feature_dim,
            "num_regions": self.num_regions,
        }

    @property
    def num_regions(self) -> int:
        """R, regions an image."""
        return self.train.features.num_regions

    @property
    def feature_dim(self) -> int:
        """F, dimensions of a region feature."""
        return self.train.features.feature_dim

    @property
    def steps_per_epoch(self) -> int:
        """Training batches an epoch, on each process."""
        return len(self.batch_sampler)

    @property
    def summary(self) -> str:
        """What is trained and validated on, in a line."""
        own = self.train_sets[0]
        return (
            f"train {own.num_captions:,} captions of {own.num_images:,} images"
            + "".join(f" and {further}" for further in self._further_sets)
            + f", val {self.val.num_captions:,} of {self.val.num_images:,}; {self.steps_per_epoch} steps an epoch"
        )

    def set_total_epochs(self, total_epochs: int) -> None:
        """Say how long the training is, which easy-to-hard sampling goes by; the trainer's length unless called.

        Args:
            total_epochs: Epochs of the whole training, 1 or more.

        Raises:
            ConfigError: If it is under 1.
        """
        if total_epochs < 1:
            raise ConfigError(f"total_epochs={total_epochs}; allowed: 1 and more epochs.")
        self._total_epochs = total_epochs
        if hasattr(self, "batch_sampler"):
            self.batch_sampler.total_epochs = total_epochs

    def train_dataloader(self) -> "DataLoader[Any]":
        """Batches of matching pairs, ``RegionTextBatch``, in the order of ``batch_sampler``.

        Where features are kept on the device, the batches come without regions; ``on_after_batch_transfer`` adds them.
        """
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        keep = worth_keeping(self.train.features, device) if self.device_features == "auto" else self.device_features
        if keep and self._resident is None and self.trainer is not None:
            self._resident = ResidentFeatures.load(self.train, device)
        return DataLoader(
            PairDataset(self.train, self._train_captions, read_images=self._resident is None),
            batch_sampler=self.batch_sampler,
            **self._loading(collate_pairs, self.num_workers),
        )

    def on_after_batch_transfer(self, batch: NamedTuple, dataloader_idx: int) -> NamedTuple:
        """Add the regions to a training batch that came to the device without them."""
        if self._resident is None or not isinstance(batch, RegionTextBatch):
            return batch
        return self._resident.fill(batch)

    def val_dataloader(self) -> "list[DataLoader[Any]]":
        """Every image once, ``ImageBatch``, and every caption once, ``CaptionBatch``, in order, on each process."""
        images, captions = ImageDataset(self.val), CaptionDataset(self._val_captions)
        return [
            DataLoader(images, self.eval_batch_size, **self._loading(collate_images, self.num_workers)),
            # Captions are in memory already; workers would only copy them.
            DataLoader(captions, self.eval_batch_size, **self._loading(collate_captions, 0)),
        ]

    def image_batches(self) -> "Iterator[ImageBatch]":
        """Every training image once, in order."""
        images = ImageDataset(self.train)
        for start in range(0, len(images), self.eval_batch_size):
            rows = range(start, min(start + self.eval_batch_size, len(images)))
            yield collate_images(images.__getitems__(rows))

    def caption_batches(self) -> "Iterator[CaptionBatch]":
        """Every training caption once, in order."""
        captions = CaptionDataset(self._train_captions)
        for start in range(0, len(captions), self.eval_batch_size):
            yield collate_captions(
                captions.__getitems__(range(start, min(start + self.eval_batch_size, len(captions))))
            )

    def training_captions(self) -> PairedCaptions:
        """Every training caption once, in order, with weights where further sets make some come more often."""
        ids, mask = pad_tokens(list(self._train_captions))
        weights = torch.as_tensor(self.batch_sampler.frequencies(), dtype=torch.float32) if self.mix else None
        return PairedCaptions(ids, mask, torch.as_tensor(self.train.caption_to_image), self.vocabulary.words, weights)

    def _loading(self, collate: Callable[..., NamedTuple], num_workers: int) -> dict[str, Any]:
        """What all loaders share."""
        return {
            "collate_fn": collate,
            "num_workers": num_workers,
            "persistent_workers": num_workers > 0,
            "pin_memory": self.pin_memory,
            # A loader draws a seed whenever it is iterated: not from the generator that dropout draws from.
            "generator": torch.Generator().manual_seed(self.seed),
        }

    def _load(self) -> None:
        own, self.val = self._open(self.train_split), self._open(self.val_split)
        check_same_shape(own, self.val)
        self._further_sets = open_further_sets(self.mix, self.root, own, self.val)
        own = take_share(own, self.train_share, self.seed)
        self.train_sets = (own, *(further.split for further in self._further_sets))
        self.train = join_splits(self.train_sets)
        self._read_captions()
        # Without further sets the same digits as before there were any.
        told = (self.train.fingerprint, self.val.fingerprint, *(str(further.share) for further in self._further_sets))
        self.fingerprint = hashlib.sha256(" ".join(told).encode()).hexdigest()[:16]
        self.batch_sampler = ResumableBatchSampler(
            num_pairs=own.num_captions,
            batch_size=self.batch_size,
            seed=self.seed,
            further_sets=[(further.split.num_captions, further.share) for further in self._further_sets],
            difficulty=word_rarity(self._train_captions) if self.initial_competence < 1 else None,
            initial_competence=self.initial_competence,
            competence_until=self.competence_until,
            total_epochs=self._total_epochs,
            hard_batches=self.hard_batches,
            drop_last=self.drop_last,
        )

    def _read_captions(self) -> None:
        """Tokenise, make the vocabulary, encode."""
        tokenised = [[self.tokenizer(caption) for caption in split.captions] for split in self.train_sets]
        if self.tokenizer.vocabulary is not None:
            self.vocabulary = self.tokenizer.vocabulary
        elif self.vocabulary_path is None:
            words = chain.from_iterable(tokenised)
            self.vocabulary = Vocabulary.build(words, self.min_count).with_words(self._kept_words)
        else:
            self.vocabulary = Vocabulary.load(self.vocabulary_path)
        self.word_vectors = (
            None if self.word_vectors_path is None else read_word_vectors(self.word_vectors_path, self.vocabulary.words)
        )
        self._train_captions = EncodedCaptions.join(
            [self._encode(split, words) for split, words in zip(self.train_sets, tokenised, strict=True)]
        )
        self._val_captions = self._encode(self.val, [self.tokenizer(caption) for caption in self.val.captions])

    def _open(self, split: str) -> Split:
        return load_split(self.root, split, *self.expected_counts.get(split, (None, None)))

    def _encode(self, split: Split, tokenised: list[list[str]]) -> EncodedCaptions:
        return encode_captions(tokenised, self.vocabulary, self.max_tokens, split.captions_path)


def _epochs_of(trainer: pl.Trainer, steps_per_epoch: int) -> int | None:
    """Epochs that a trainer will run; ``None`` where neither its epochs nor its steps are bounded."""
    by_epochs = trainer.max_epochs if trainer.max_epochs is not None and trainer.max_epochs > 0 else None
    by_steps = ceil(trainer.max_steps / steps_per_epoch) if trainer.max_steps > 0 else None
    return min((epochs for epochs in (by_epochs, by_steps) if epochs is not None), default=None)
