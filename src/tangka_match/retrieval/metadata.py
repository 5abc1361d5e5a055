"""Metadata of a checkpoint: vocabulary, tokenizer, feature shape and fingerprints stored with its weights."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from torch import Tensor
from typing_extensions import TypedDict  # that of typing lacks what pydantic needs before Python 3.12

from tangka_match.errors import CheckpointError
from tangka_match.retrieval.safe_load import load_weights

METADATA_KEY = "tangka_match"
METADATA_FORMAT = 1
PREFIX = "matcher."
"""Prefix of the matcher's weights in a checkpoint's ``state_dict``."""

OPEN = ConfigDict(strict=True, extra="allow", arbitrary_types_allowed=True)
Size = Annotated[int, Field(ge=1, lt=2**31)]


@with_config(OPEN)
class _Words(TypedDict):
    word2idx: dict[str, int]


@with_config(OPEN)
class _Metadata(TypedDict):
    name: str
    run_id: str
    model: dict[str, Any]
    vocabulary: _Words
    vocabulary_fingerprint: str
    tokenizer: dict[str, Any]
    max_tokens: Size
    num_regions: Size
    feature_dim: Size
    data_fingerprint: str


@with_config(OPEN)
class _Checkpoint(TypedDict):
    state_dict: dict[str, Any]
    tangka_match: _Metadata
    epoch: NotRequired[int]
    global_step: NotRequired[int]


CHECKPOINT: TypeAdapter[Any] = TypeAdapter(_Checkpoint)
"""Schema of a checkpoint of this project: what loading and resuming use of it."""


def make_metadata(
    *,
    name: str,
    run_id: str,
    model: dict[str, Any],
    vocabulary: dict[str, Any],
    vocabulary_fingerprint: str,
    tokenizer: dict[str, Any],
    max_tokens: int,
    num_regions: int,
    feature_dim: int,
    data_fingerprint: str,
) -> dict[str, Any]:
    """Collect the metadata that every checkpoint of a run carries; all values are plain.

    Args:
        name: Name of the experiment.
        run_id: Id of the run that writes the checkpoint.
        model: Hyper-parameters with ``_target_``, as ``models.registry.build_matcher`` reads them.
        vocabulary: ``Vocabulary.to_dict()``.
        vocabulary_fingerprint: ``Vocabulary.fingerprint()``.
        tokenizer: ``settings()`` of the tokenizer.
        max_tokens: Maximum tokens per caption, including ``<start>`` and ``<end>``.
        num_regions: Regions per image.
        feature_dim: Dimensions of a region feature.
        data_fingerprint: Fingerprint of the training and validation sets.
    """
    return {"format": METADATA_FORMAT, **locals()}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project, weights on the CPU, without executing anything in it.

    Args:
        path: A ``.ckpt`` file.

    Returns:
        Lightning's checkpoint dict, with the metadata under ``METADATA_KEY``.

    Raises:
        CheckpointError: If the file is missing, damaged, tries to run code, or was not written by this project.
    """
    checkpoint = load_weights(path, if_damaged=_other_checkpoint(path))
    metadata = checkpoint.get(METADATA_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(metadata, dict):
        raise CheckpointError(f"{path}: not a checkpoint of tangka_match (it has no {METADATA_KEY!r} entry)")
    if metadata.get("format") != METADATA_FORMAT:
        raise CheckpointError(
            f"{path}: format {metadata.get('format')!r}, but this version reads format {METADATA_FORMAT}; "
            "use the version of tangka_match that wrote it"
        )
    try:
        CHECKPOINT.validate_python(checkpoint)
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: damaged, or written by another program ({_fault(error)}); {_other_checkpoint(path)}"
        ) from error
    return checkpoint


def _fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    name = ".".join(map(str, first["loc"]))
    return f"it lacks {name}" if first["type"] == "missing" else f"{name}: {first['msg']}"


def _other_checkpoint(path: Path) -> str:
    """Return what to do about a damaged checkpoint; ``best.ckpt`` holds all that a run continues from, too."""
    best = path.with_name("best.ckpt")
    if path.name == "last.ckpt" and best.exists():
        quoted = " ".join(shlex.quote(str(name)) for name in (best, path))
        return f"use {best}, or continue its run from there: cp {quoted}, then resume=<run id>"
    return "use the other of best.ckpt and last.ckpt in the same folder"


def check_metadata(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse a checkpoint of another architecture, vocabulary or data set.

    Args:
        path: Path of the checkpoint, for the message.
        found: Metadata of the checkpoint.
        expected: Metadata of the run that wants to use it.

    Raises:
        CheckpointError: If they differ; the message lists every setting that differs, with both values.
    """
    keys = ("num_regions", "feature_dim", "vocabulary_fingerprint", "tokenizer", "max_tokens", "data_fingerprint")
    differences = [line for key in keys for line in _differences(key, found.get(key), expected[key])]
    differences += _differences("model", found.get("model", {}), expected["model"])
    if differences:
        raise CheckpointError(
            f"{path} belongs to another model, vocabulary or data set:\n  "
            + "\n  ".join(differences)
            + "\nUse the data and settings that the run was started with (see its config.yaml)."
        )


def _differences(name: str, theirs: Any, ours: Any) -> list[str]:
    """Describe where two values differ; of long lists only the first different entry.

    >>> _differences("tokenizer", {"hmm": True, "words": [["a", 1], ["b", 2]]}, {"hmm": True, "words": [["a", 9]]})
    ["tokenizer.words[0]: ['a', 1] in the checkpoint, ['a', 9] here (2 entries there, 1 here)"]
    """
    if theirs == ours:
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = sorted({*theirs, *ours})
        return [line for key in keys for line in _differences(f"{name}.{key}", theirs.get(key), ours.get(key))]
    if isinstance(theirs, list) and isinstance(ours, list):
        place = next((n for n, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), None)
        if place is not None:
            sizes = f"({len(theirs):,} entries there, {len(ours):,} here)"
            return [f"{name}[{place}]: {theirs[place]!r} in the checkpoint, {ours[place]!r} here {sizes}"]
        return [f"{name}: {len(theirs):,} entries in the checkpoint, {len(ours):,} here"]
    return [f"{name}: {theirs!r} in the checkpoint, {ours!r} here"]


def matcher_weights(checkpoint: Mapping[str, Any], part: str = "") -> dict[str, Tensor]:
    """Return the weights of the matcher, or of one of its submodules, keyed as in its ``state_dict``.

    Args:
        checkpoint: Checkpoint dict with a ``state_dict``.
        part: Prefix of the submodule's keys, such as ``"head."``.

    Example:
        >>> matcher_weights({"state_dict": {"matcher.head.bias": 1, "loss.scale": 2}})
        {'head.bias': 1}
        >>> matcher_weights({"state_dict": {"matcher.head.bias": 1}}, part="head.")
        {'bias': 1}
    """
    start = PREFIX + part
    return {key.removeprefix(start): value for key, value in checkpoint["state_dict"].items() if key.startswith(start)}


def as_checkpoint(
    weights: Mapping[str, Tensor], metadata: dict[str, Any], *, epoch: int = 0, global_step: int = 0
) -> dict[str, Any]:
    """Build a checkpoint that ``tangka_match.load`` reads from weights that this project did not train.

    Args:
        weights: State dict of the matcher.
        metadata: Metadata from `make_metadata`.
        epoch: Epoch of the weights.
        global_step: Optimizer step of the weights.

    Returns:
        Checkpoint dict to write with ``torch.save``.
    """
    state = {f"{PREFIX}{key}": value for key, value in weights.items()}
    return {"epoch": epoch, "global_step": global_step, "state_dict": state, METADATA_KEY: metadata}
