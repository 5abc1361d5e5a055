"""What a checkpoint says about itself beside its weights, and reading it without trusting it."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangka_match.errors import CheckpointError
from tangka_match.retrieval.safe_load import check_sums

PASSPORT_KEY = "tangka_match"
PASSPORT_FORMAT = 1


def make_passport(
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
    """Collect what every checkpoint of a run carries; all values are plain.

    Args:
        name: Of the experiment.
        run_id: Of the run that writes the checkpoint.
        model: Hyper-parameters, with ``_target_``, as ``models.registry.build_matcher`` reads them.
        vocabulary: ``Vocabulary.to_dict()``.
        vocabulary_fingerprint: ``Vocabulary.fingerprint()``.
        tokenizer: ``settings()`` of the tokenizer.
        max_tokens: Words a caption, ``<start>`` and ``<end>`` included.
        num_regions: Regions an image.
        feature_dim: Dimensions of a region feature.
        data_fingerprint: Of the training and validation sets.
    """
    return {"format": PASSPORT_FORMAT, **locals()}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this project, weights on the CPU, without executing anything in it.

    Args:
        path: A ``.ckpt`` file.

    Returns:
        Lightning's checkpoint dict; the passport is under ``PASSPORT_KEY``.

    Raises:
        CheckpointError: If the file is missing, damaged, tries to run code, or was not written by this project.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; give the path of a best.ckpt or last.ckpt")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a pickle protocol that is refused anyway
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        check_sums(path)
    except pickle.UnpicklingError as error:
        # Not torch's own words: they go on to explain how to run what the file says.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks for {found[1]}" if found else "torch.save did not write it"
        raise CheckpointError(
            f"{path}: refused, because it holds more than weights and plain values ({reason}); nothing in it was run. "
            "Take the file from somebody you trust, or train again"
        ) from error
    except Exception as error:  # a damaged file can raise nearly anything
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: damaged or half-written, {path.stat().st_size:,} bytes ({reason}); "
            "use the other of best.ckpt and last.ckpt beside it"
        ) from error
    passport = checkpoint.get(PASSPORT_KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(passport, dict):
        raise CheckpointError(f"{path}: not a checkpoint of tangka_match (it has no {PASSPORT_KEY!r} entry)")
    if passport.get("format") != PASSPORT_FORMAT:
        raise CheckpointError(
            f"{path}: format {passport.get('format')!r}, this version reads format {PASSPORT_FORMAT}; "
            "use the version of tangka_match that wrote it"
        )
    return checkpoint


def check_passport(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse a checkpoint of another architecture, vocabulary or data set.

    Args:
        path: Of the checkpoint, for the message.
        found: Its passport.
        expected: The passport of the run that wants to use it.

    Raises:
        CheckpointError: Naming every difference, with both values.
    """
    keys = ("num_regions", "feature_dim", "vocabulary_fingerprint", "tokenizer", "max_tokens", "data_fingerprint")
    differences = [
        f"{key}: {found.get(key)!r} in the checkpoint, {expected[key]!r} here"
        for key in keys
        if found.get(key) != expected[key]
    ]
    theirs, ours = found.get("model", {}), expected["model"]
    differences += [
        f"model.{key}: {theirs.get(key)!r} in the checkpoint, {ours.get(key)!r} here"
        for key in sorted({*theirs, *ours})
        if theirs.get(key) != ours.get(key)
    ]
    if differences:
        raise CheckpointError(
            f"{path} belongs to another model, vocabulary or data set:\n  "
            + "\n  ".join(differences)
            + "\nUse the data and the settings that the run was started with (its config.yaml holds them)."
        )


PREFIX = "matcher."


def matcher_weights(checkpoint: Mapping[str, Any], part: str = "") -> dict[str, Tensor]:
    """The weights of the model, or of a part of it, by their names in its ``state_dict``.

    >>> matcher_weights({"state_dict": {"matcher.head.bias": 1, "loss.scale": 2}})
    {'head.bias': 1}
    >>> matcher_weights({"state_dict": {"matcher.head.bias": 1}}, part="head.")
    {'bias': 1}
    """
    start = PREFIX + part
    return {key.removeprefix(start): value for key, value in checkpoint["state_dict"].items() if key.startswith(start)}


def as_checkpoint(
    weights: Mapping[str, Tensor], passport: dict[str, Any], *, epoch: int = 0, global_step: int = 0
) -> dict[str, Any]:
    """What ``torch.save`` writes and ``tangka_match.load`` reads, of weights that no training of ours made."""
    state = {f"{PREFIX}{key}": value for key, value in weights.items()}
    return {"epoch": epoch, "global_step": global_step, "state_dict": state, PASSPORT_KEY: passport}
