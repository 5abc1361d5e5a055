"""``init_from``: initialise a run with the weights of another one; rows of words are matched by word."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import rich
import torch
from rich import box
from rich.table import Table
from torch import Tensor, nn

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.records.run_folder import RunFolder
from tangka_match.retrieval.metadata import METADATA_KEY, matcher_weights, read_checkpoint
from tangka_match.training.plan import RunPlan
from tangka_match.types import FittedMatcher

MIN_SHARE = 0.5
"""Smallest share of the weights, without rows of new words, that a checkpoint must provide."""


class Transfer(NamedTuple):
    """Outcome for one tensor of the new matcher.

    Args:
        name: Name in the ``state_dict`` of the matcher.
        outcome: ``"taken"``, ``"moved by word"`` or ``"as usual"`` (initialised).
        detail: Shapes, or numbers of words.
        taken, size: Elements copied from the checkpoint, and elements that could have been.
    """

    name: str
    outcome: str
    detail: str
    taken: int
    size: int


@dataclass(frozen=True)
class InitialWeights:
    """Weights and words of the checkpoint of another run.

    The parameters of the loss are not included: temperature and schedules follow the settings of the new run. If the
    other run averaged its weights, these are the averages.

    Args:
        path: Path of the checkpoint.
        run_id: Id of the run that wrote it.
        weights: Weights by their names in the matcher.
        vocabulary: Vocabulary of the checkpoint.
    """

    path: Path
    run_id: str
    weights: dict[str, Tensor]
    vocabulary: Vocabulary

    @classmethod
    def read(cls, path: Path, model: dict[str, Any]) -> "InitialWeights":
        """Read a checkpoint without executing code in it.

        Args:
            path: Path of a ``best.ckpt`` or ``last.ckpt``.
            model: Hyper-parameters of the matcher that is initialised from it.

        Raises:
            CheckpointError: If the file is missing, damaged or unsafe, or holds a model of another class.
        """
        checkpoint = read_checkpoint(path)
        metadata = checkpoint[METADATA_KEY]
        theirs = metadata["model"].get("_target_")
        if theirs != model["_target_"]:
            raise CheckpointError(
                f"init_from={path} holds a {theirs}, but this run trains a {model['_target_']}; choose the model= that "
                "the checkpoint was trained with, or a checkpoint of this model"
            )
        vocabulary = Vocabulary.from_dict(metadata["vocabulary"], f"{path}: vocabulary")
        return cls(path, str(metadata["run_id"]), matcher_weights(checkpoint), vocabulary)

    def copy_to(self, matcher: nn.Module, word_axes: dict[str, int], vocabulary: Vocabulary) -> list[Transfer]:
        """Copy all weights that fit into a matcher, in place; the others keep their initial values.

        Args:
            matcher: New model; on the ``meta`` device nothing is copied, but the result is the same.
            word_axes: Axes from ``word_axes_of``.
            vocabulary: Vocabulary of the new run.

        Returns:
            One entry per tensor of the matcher, in its order.

        Raises:
            CheckpointError: If the checkpoint provides less than ``MIN_SHARE`` of the weights.
        """
        state = matcher.state_dict()
        with torch.no_grad():
            transfers = [self._copy(name, new, word_axes.get(name), vocabulary) for name, new in state.items()]
        share = sum(t.taken for t in transfers) / max(sum(t.size for t in transfers), 1)
        if share < MIN_SHARE:
            left = "\n  ".join(f"{t.name}: {t.detail}" for t in transfers if t.outcome == "as usual")
            raise CheckpointError(
                f"init_from={self.path} provides only {share:.0%} of the weights of this model (at least "
                f"{MIN_SHARE:.0%} are needed); it lacks:\n  {left}\n"
                "Set the sizes of the model that the checkpoint was trained with, or remove init_from"
            )
        return transfers

    def _copy(self, name: str, new: Tensor, word_axis: int | None, vocabulary: Vocabulary) -> Transfer:
        old = self.weights.get(name)
        if old is None:
            return Transfer(name, "as usual", "not in the checkpoint", 0, new.numel())
        if word_axis is not None and _shape_without(word_axis, old) == _shape_without(word_axis, new):
            return self._move_words(name, old, new, word_axis, vocabulary)
        if old.shape != new.shape:
            detail = f"{tuple(old.shape)} in the checkpoint, {tuple(new.shape)} here"
            return Transfer(name, "as usual", detail, 0, new.numel())
        new.copy_(old)
        return Transfer(name, "taken", str(tuple(new.shape)), new.numel(), new.numel())

    def _move_words(self, name: str, old: Tensor, new: Tensor, axis: int, vocabulary: Vocabulary) -> Transfer:
        """Copy the rows of words that are in both vocabularies, and the rows after the words (hash buckets)."""
        places = {word: row for row, word in enumerate(self.vocabulary.words)}
        shared = [(row, places[word]) for row, word in enumerate(vocabulary.words) if word in places]
        after, after_old = new.shape[axis] - len(vocabulary), old.shape[axis] - len(self.vocabulary)
        if after == after_old:
            shared += [(len(vocabulary) + n, len(self.vocabulary) + n) for n in range(after)]
        rows, old_rows = (torch.tensor(side, device=new.device) for side in zip(*shared, strict=True))
        new.index_copy_(axis, rows, old.to(new.device, new.dtype).index_select(axis, old_rows))
        words = sum(word in places for word in vocabulary.words)
        detail = f"{words:,} of {len(vocabulary):,} words"
        taken = new.numel() // new.shape[axis] * len(shared)
        return Transfer(name, "moved by word", detail, taken, taken)


def word_axes_of(build_model: Callable[..., nn.Module], **sizes: int) -> tuple[nn.Module, dict[str, int]]:
    """Find the tensors of a matcher that have one row per word: they grow with the vocabulary.

    Args:
        build_model: Function that builds the matcher from ``sizes``.
        sizes: ``vocab_size``, ``feature_dim`` and ``num_regions``.

    Returns:
        The matcher on the ``meta`` device, and the axis of the words by the name of the tensor.
    """
    with torch.device("meta"):
        matcher = build_model(**sizes)
        larger = build_model(**{**sizes, "vocab_size": sizes["vocab_size"] + 1}).state_dict()
    axes = {
        name: axis
        for name, value in matcher.state_dict().items()
        for axis, (size, one_more) in enumerate(zip(value.shape, larger[name].shape, strict=True))
        if one_more == size + 1
    }
    return matcher, axes


def _shape_without(axis: int, tensor: Tensor) -> tuple[int, ...]:
    return (*tensor.shape[:axis], *tensor.shape[axis + 1 :])


logger = logging.getLogger(__name__)


def read_start(plan: RunPlan, resume: RunFolder | None) -> InitialWeights | None:
    """Read the checkpoint of ``init_from``, and add its words to the data before they are set up.

    The vocabulary consists of the words of the training captions, followed by the other words of the checkpoint. Their
    embeddings are trained already, and later captions may use them. A vocabulary from a file is not changed.

    A resumed run has its weights and words in ``last.ckpt``; the checkpoint of ``init_from`` may have been removed.

    Args:
        plan: The run.
        resume: Folder of the run if it is resumed.

    Returns:
        ``None`` without ``init_from``, and if the run continues from its own checkpoint.

    Raises:
        CheckpointError: If the checkpoint cannot be used; see ``InitialWeights.read``.
    """
    path = plan.settings.init_from
    if path is None:
        return None
    if resume is not None and resume.last.exists():
        words = read_checkpoint(resume.last)[METADATA_KEY]["vocabulary"]["word2idx"]
        plan.data.keep_words(sorted(words, key=words.__getitem__))
        return None
    start = InitialWeights.read(path, plan.model)
    plan.data.keep_words(start.vocabulary.words)
    return start


def check_start(start: InitialWeights, plan: RunPlan) -> dict[str, int]:
    """Check that the weights fit the model, before a run folder is made.

    Args:
        start: Weights of the checkpoint.
        plan: The run; its data are set up.

    Returns:
        Axis of the words by the name of the tensor.

    Raises:
        CheckpointError: If the checkpoint provides less than ``MIN_SHARE`` of the weights.
        ConfigError: If the model is fitted in closed form, or there are pretrained word vectors, which would replace
            the loaded weights.
    """
    if plan.data.word_vectors is not None:
        raise ConfigError(
            f"init_from={start.path} and data.word_vectors_path={plan.data.word_vectors_path}: the vectors of the file "
            "would replace those of the checkpoint; set data.word_vectors_path=null, or remove init_from"
        )
    matcher, axes = word_axes_of(plan.build_model, **plan.data.model_sizes)
    if isinstance(matcher, FittedMatcher):
        raise ConfigError(
            f"init_from={start.path}: {type(matcher).__name__} is fitted to the training pairs in closed form, which "
            "would replace all weights; remove init_from, or choose another model"
        )
    start.copy_to(matcher, axes, plan.data.vocabulary)
    return axes


def start_from(start: InitialWeights, axes: dict[str, int], matcher: nn.Module, plan: RunPlan) -> dict[str, Any]:
    """Load the weights, print which ones were taken, and return the same for the records."""
    transfers = start.copy_to(matcher, axes, plan.data.vocabulary)
    taken = [t for t in transfers if t.outcome == "taken"]
    others = [t for t in transfers if t.outcome != "taken"]
    logger.info(
        "initialised from %s (run %s): %d of %d tensors taken", start.path, start.run_id, len(taken), len(transfers)
    )
    rich.get_console().print(_table(taken, others))
    return {
        "path": str(start.path),
        "run_id": start.run_id,
        "taken": len(taken),
        "moved_by_word": {t.name: t.detail for t in others if t.outcome == "moved by word"},
        "as_usual": {t.name: t.detail for t in others if t.outcome == "as usual"},
    }


def _table(taken: list[Transfer], others: list[Transfer]) -> Table:
    """Make a table with one row for all tensors that were taken, and one row per other tensor."""
    table = Table("weights", "outcome", "what", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_row(f"{len(taken)} tensors", "taken", f"{sum(t.size for t in taken):,} numbers")
    for transfer in others:
        table.add_row(transfer.name, transfer.outcome, transfer.detail)
    return table
