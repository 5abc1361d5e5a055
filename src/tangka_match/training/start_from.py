"""How a run with ``init_from`` begins: which words it knows, whether the weights fit, and what it says of them."""

import logging
from typing import Any

import rich
from rich import box
from rich.table import Table
from torch import nn

from tangka_match.errors import ConfigError
from tangka_match.retrieval.passport import PASSPORT_KEY, read_checkpoint
from tangka_match.training.initial_weights import InitialWeights, Transfer, word_axes_of
from tangka_match.training.plan import RunPlan
from tangka_match.training.records.run_folder import RunFolder
from tangka_match.types import FittedMatcher

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
        words = read_checkpoint(resume.last)[PASSPORT_KEY]["vocabulary"]["word2idx"]
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
