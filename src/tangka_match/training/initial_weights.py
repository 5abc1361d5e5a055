"""``init_from``: the weights of another run as the start of a new one, word rows moved by word."""

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

LEAST_SHARE = 0.5
"""Share of the matcher's numbers, rows of new words aside, that a checkpoint must hold to be a start at all."""


class Transfer(NamedTuple):
    """What became of one tensor of the new matcher.

    Args:
        name: In the matcher's ``state_dict``.
        outcome: ``"taken"``, ``"moved by word"`` or ``"as usual"`` (initialised).
        detail: Shapes, or numbers of words.
        taken, size: Numbers that came from the checkpoint, and those that could have.
    """

    name: str
    outcome: str
    detail: str
    taken: int
    size: int


@dataclass(frozen=True)
class InitialWeights:
    """The matcher's weights and the words of another run's checkpoint.

    The loss is not part of it: a run's temperature and schedules are what its own settings say. Of a run with averaged
    weights these are the averages, which its validation saw.

    Args:
        path: Of the checkpoint.
        run_id: Of the run that wrote it.
        weights: By the names that the matcher gives them.
        vocabulary: Its words, in the order of their rows.
    """

    path: Path
    run_id: str
    weights: dict[str, Tensor]
    vocabulary: Vocabulary

    @classmethod
    def read(cls, path: Path, model: dict[str, Any]) -> "InitialWeights":
        """Read a checkpoint; nothing in it is executed.

        Args:
            path: Of a ``best.ckpt`` or ``last.ckpt``.
            model: Hyper-parameters of the matcher that is to start from it.

        Raises:
            CheckpointError: If the file is missing, damaged or unsafe, or holds a model of another class.
        """
        checkpoint = read_checkpoint(path)
        metadata = checkpoint[METADATA_KEY]
        theirs = metadata["model"].get("_target_")
        if theirs != model["_target_"]:
            raise CheckpointError(
                f"init_from={path}: it holds a {theirs}, and this run trains a {model['_target_']}; choose the model= "
                "that the checkpoint was trained with, or a checkpoint of this model"
            )
        vocabulary = Vocabulary.from_dict(metadata["vocabulary"], f"{path}: vocabulary")
        return cls(path, str(metadata["run_id"]), matcher_weights(checkpoint), vocabulary)

    def copy_to(self, matcher: nn.Module, word_axes: dict[str, int], vocabulary: Vocabulary) -> list[Transfer]:
        """Copy what fits into a matcher, in place; the rest stays as it was initialised.

        Args:
            matcher: The new one; on the ``meta`` device nothing is copied, and the answer is the same.
            word_axes: ``word_axes_of`` it.
            vocabulary: The new run's.

        Returns:
            One entry a tensor of the matcher, in its order.

        Raises:
            CheckpointError: If less than ``LEAST_SHARE`` of the matcher is in the checkpoint.
        """
        state = matcher.state_dict()
        with torch.no_grad():
            transfers = [self._copy(name, new, word_axes.get(name), vocabulary) for name, new in state.items()]
        share = sum(t.taken for t in transfers) / max(sum(t.size for t in transfers), 1)
        if share < LEAST_SHARE:
            left = "\n  ".join(f"{t.name}: {t.detail}" for t in transfers if t.outcome == "as usual")
            raise CheckpointError(
                f"init_from={self.path}: only {share:.0%} of this model's weights are in it (at least "
                f"{LEAST_SHARE:.0%} are needed); these are not:\n  {left}\n"
                "Give the model the sizes that the checkpoint was trained with, or leave init_from out"
            )
        return transfers

    def _copy(self, name: str, new: Tensor, word_axis: int | None, vocabulary: Vocabulary) -> Transfer:
        old = self.weights.get(name)
        if old is None:
            return Transfer(name, "as usual", "not in the checkpoint", 0, new.numel())
        if word_axis is not None and _shapes_apart_from(word_axis, old) == _shapes_apart_from(word_axis, new):
            return self._move_words(name, old, new, word_axis, vocabulary)
        if old.shape != new.shape:
            detail = f"{tuple(old.shape)} in the checkpoint, {tuple(new.shape)} here"
            return Transfer(name, "as usual", detail, 0, new.numel())
        new.copy_(old)
        return Transfer(name, "taken", str(tuple(new.shape)), new.numel(), new.numel())

    def _move_words(self, name: str, old: Tensor, new: Tensor, axis: int, vocabulary: Vocabulary) -> Transfer:
        """Rows of words that both runs know; what follows the words (hash buckets) stands at the end of both."""
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
    """Find which tensors of a matcher have a row a word: those that are larger with one word more.

    Args:
        build_model: Makes the matcher from ``sizes``.
        sizes: ``vocab_size``, ``feature_dim`` and ``num_regions``.

    Returns:
        The matcher on the ``meta`` device, and the axis of the words by the tensor's name.
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


def _shapes_apart_from(axis: int, tensor: Tensor) -> tuple[int, ...]:
    return (*tensor.shape[:axis], *tensor.shape[axis + 1 :])


logger = logging.getLogger(__name__)


def read_start(plan: RunPlan, resume: RunFolder | None) -> InitialWeights | None:
    """Read what a run starts from, and give its words to the data, before these are set up.

    The vocabulary becomes the words of the run's own training captions and, after them, the others of the checkpoint.
    Those are kept because the captions to be found later use some of them: their embeddings are learnt, and without
    them such words would be ``<unk>``. A vocabulary from a file stays as it is.

    A run that is resumed has its weights and words in ``last.ckpt``; the first checkpoint may be gone.

    Returns:
        ``None`` without ``init_from``, and where the run goes on from its own checkpoint.

    Raises:
        CheckpointError: If a checkpoint cannot be used; see ``InitialWeights.read``.
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
    """Make sure that the weights fit the model, before a folder is made.

    Returns:
        The axis of the words, by the name of the tensor.

    Raises:
        CheckpointError: If hardly anything fits.
        ConfigError: If the model is fitted in closed form, or there are pretrained word vectors: either would replace
            what was loaded.
    """
    if plan.data.word_vectors is not None:
        raise ConfigError(
            f"init_from={start.path} and data.word_vectors_path={plan.data.word_vectors_path}: the vectors of the file "
            "would replace those that the checkpoint has learnt; set data.word_vectors_path=null, or drop init_from"
        )
    matcher, axes = word_axes_of(plan.build_model, **plan.data.model_sizes)
    if isinstance(matcher, FittedMatcher):
        raise ConfigError(
            f"init_from={start.path}: {type(matcher).__name__} is fitted to the training pairs in closed form when a "
            "run begins, which would replace every weight; leave init_from out, or choose another model"
        )
    start.copy_to(matcher, axes, plan.data.vocabulary)
    return axes


def start_from(start: InitialWeights, axes: dict[str, int], matcher: nn.Module, plan: RunPlan) -> dict[str, Any]:
    """Load the weights, print what was taken and what was not, and return the same for the records."""
    transfers = start.copy_to(matcher, axes, plan.data.vocabulary)
    taken = [t for t in transfers if t.outcome == "taken"]
    others = [t for t in transfers if t.outcome != "taken"]
    logger.info("starts from %s (run %s): %d of %d tensors taken", start.path, start.run_id, len(taken), len(transfers))
    rich.get_console().print(_table(taken, others))
    return {
        "path": str(start.path),
        "run_id": start.run_id,
        "taken": len(taken),
        "moved_by_word": {t.name: t.detail for t in others if t.outcome == "moved by word"},
        "as_usual": {t.name: t.detail for t in others if t.outcome == "as usual"},
    }


def _table(taken: list[Transfer], others: list[Transfer]) -> Table:
    """Tensors that were not simply taken, one a row; the others in one."""
    table = Table("weights", "outcome", "what", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_row(f"{len(taken)} tensors", "taken", f"{sum(t.size for t in taken):,} numbers")
    for transfer in others:
        table.add_row(transfer.name, transfer.outcome, transfer.detail)
    return table
