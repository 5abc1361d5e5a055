"""Convert checkpoints between the published SGRAF code and this project, without executing anything in them.

A published checkpoint is ``{"epoch", "model": [img_enc, txt_enc, sim_enc], "best_rsum", "opt", "Eiters"}``: three state
dicts and the command-line options as an ``argparse.Namespace``.
"""

import argparse
import inspect
from pathlib import Path
from typing import Any

from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError
from tangka_match.models import SGRAF
from tangka_match.models.registry import build_matcher
from tangka_match.retrieval.foreign import without_wrapper_prefix
from tangka_match.retrieval.metadata import METADATA_KEY, as_checkpoint, make_metadata, matcher_weights, read_checkpoint
from tangka_match.retrieval.safe_load import load_weights

KEYS = {"epoch", "model", "opt", "Eiters"}
PARTS = ("img_enc", "txt_enc", "sim_enc")
TARGET = "tangka_match.models.SGRAF"
WORD_VECTORS, REGION_SLOTS = "embed.weight", "v_global_w.embedding_local.1.weight"
UNTRUNCATED = 10_000
"""``max_tokens`` of converted checkpoints: the published code does not truncate captions."""
OPTIONS = {
    "embed_dim": "embed_size",
    "word_dim": "word_dim",
    "sim_dim": "sim_dim",
    "num_layers": "num_layers",
    "bidirectional": "bi_gru",
    "graph_steps": "sgr_step",
}
"""Our hyper-parameters, and the published options with the same meaning."""
PUBLISHED_REGIONS = 36
"""Regions per image, hard-coded in the published code."""
TRAINING_OPTIONS = {
    "data_path": "data",
    "data_name": "tangka_precomp",
    "vocab_path": "vocab/",
    "model_name": "runs/checkpoint",
    "logger_name": "runs/log",
    "batch_size": 128,
    "num_epochs": 40,
    "lr_update": 30,
    "learning_rate": 0.0002,
    "workers": 10,
    "log_step": 10,
    "val_step": 1000,
    "grad_clip": 2.0,
    "margin": 0.2,
    "max_violation": True,
}
"""Training options that the published code reads, with its defaults."""


def from_published(source: Path, vocabulary: Vocabulary) -> dict[str, Any]:
    """Convert a published checkpoint into one of ours.

    Args:
        source: ``model_best.pth.tar`` of the published code.
        vocabulary: Vocabulary that the model was trained with.

    Returns:
        Checkpoint dict for ``torch.save``, readable by ``tangka_match.load``. Its tokenizer segments captions as the
        published code does: plain jieba after ``lower()``, with punctuation.

    Raises:
        CheckpointError: If the file is missing, damaged, holds more than weights and options, or does not fit the
            vocabulary.
    """
    content = _read(source)
    states, options = [without_wrapper_prefix(state) for state in content["model"]], vars(content["opt"])
    missing = sorted({"img_dim", "module_name", *OPTIONS.values()} - set(options))
    if missing:
        raise CheckpointError(
            f"{source}: its options lack {', '.join(missing)}; it was not written by SGRAF's train.py"
        )
    missing = [key for part, key in ((1, WORD_VECTORS), (2, REGION_SLOTS)) if key not in states[part]]
    if missing:
        raise CheckpointError(f"{source}: its state dicts lack {' and '.join(missing)}; it does not hold an SGRAF")
    words = len(states[1][WORD_VECTORS])
    if words != len(vocabulary):
        raise CheckpointError(
            f"{source} has vectors for {words:,} words, but the vocabulary holds {len(vocabulary):,}; give the "
            "vocabulary that the model was trained with"
        )
    model = {
        "_target_": TARGET,
        "reasoning": options["module_name"].lower(),
        **{ours: options[theirs] for ours, theirs in OPTIONS.items()},
        "normalise_images": not options.get("no_imgnorm", False),
        "normalise_texts": not options.get("no_txtnorm", False),
    }
    num_regions = len(states[2][REGION_SLOTS])
    matcher: Any = build_matcher(model, vocab_size=words, feature_dim=options["img_dim"], num_regions=num_regions)
    matcher.load_published_state(states)
    tokenizer = JiebaTokenizer(domain_dictionary=False, normalise=False, keep_punctuation=True)
    metadata = make_metadata(
        name="sgraf_published",
        run_id=source.name,
        model=model,
        vocabulary=vocabulary.to_dict(),
        vocabulary_fingerprint=vocabulary.fingerprint(),
        tokenizer=tokenizer.settings(),
        max_tokens=UNTRUNCATED,
        num_regions=num_regions,
        feature_dim=options["img_dim"],
        data_fingerprint="",
    )
    plain = {key: value for key, value in options.items() if isinstance(value, str | int | float | bool | None)}
    metadata["published"] = {"best_rsum": float(content.get("best_rsum", 0.0)), "options": plain}  # for `to_published`
    epoch, steps = int(content["epoch"]), int(content["Eiters"])
    return as_checkpoint(matcher.state_dict(), metadata, epoch=epoch, global_step=steps)


def to_published(source: Path) -> dict[str, Any]:
    """Convert our checkpoint of an SGRAF into one that the published code loads, with its keys, order and dtypes.

    A checkpoint that was converted from the published code keeps its options and best rsum; one of our own training
    gets the published defaults for the training options.

    Args:
        source: Checkpoint of this project.

    Returns:
        Checkpoint dict for ``torch.save``, in the format described above.

    Raises:
        CheckpointError: If the file is missing or damaged, or its model has a setting that the published code lacks.
    """
    checkpoint = read_checkpoint(source)
    metadata = checkpoint[METADATA_KEY]
    model = metadata["model"]
    if model["_target_"] != TARGET:
        raise CheckpointError(f"{source} holds a {model['_target_']}; the published code supports only SGRAF")
    if model.get("reasoning", "sgr") == "both" or model.get("global_share", 0):
        raise CheckpointError(
            f"{source} holds an SGRAF with reasoning={model.get('reasoning', 'sgr')!r} and "
            f"global_share={model.get('global_share', 0)}; the published code supports reasoning sgr or saf, without a "
            "global branch"
        )
    if metadata["num_regions"] != PUBLISHED_REGIONS:
        raise CheckpointError(
            f"{source} has {metadata['num_regions']} regions per image; the published code supports only "
            f"{PUBLISHED_REGIONS}"
        )
    states = [matcher_weights(checkpoint, f"{part}.") for part in PARTS]
    settings = {name: parameter.default for name, parameter in inspect.signature(SGRAF).parameters.items()} | model
    origin = metadata.get("published", {"best_rsum": 0.0, "options": {}})
    options = TRAINING_OPTIONS | origin["options"]
    options |= {theirs: settings[ours] for ours, theirs in OPTIONS.items()} | {
        "module_name": settings["reasoning"].upper(),
        "img_dim": metadata["feature_dim"],
        "vocab_size": len(metadata["vocabulary"]["word2idx"]),
        "no_imgnorm": not settings["normalise_images"],
        "no_txtnorm": not settings["normalise_texts"],
    }
    return {
        "epoch": int(checkpoint["epoch"]),
        "model": states,
        "best_rsum": origin["best_rsum"],
        "opt": argparse.Namespace(**options),
        "Eiters": int(checkpoint["global_step"]),
    }


def _read(source: Path) -> dict[str, Any]:
    content = load_weights(source, [argparse.Namespace])
    if not is_published(content) or not isinstance(content["opt"], argparse.Namespace):
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{source}: not a checkpoint of the published SGRAF, which holds {', '.join(sorted(KEYS))}, three state "
            f"dicts and an argparse.Namespace; found {found}"
        )
    return content


def is_published(content: object) -> bool:
    """Check whether the content of a file has the form of a published checkpoint; options are not checked."""
    if not isinstance(content, dict) or not content.keys() >= KEYS:
        return False
    states = content["model"]
    return isinstance(states, list | tuple) and len(states) == len(PARTS) and all(isinstance(s, dict) for s in states)


def holds_sgraf(content: object) -> bool:
    """Check whether the content of a file is a published checkpoint with the weights of an SGRAF."""
    if not is_published(content):
        return False
    assert isinstance(content, dict)
    states = [without_wrapper_prefix(state) for state in content["model"]]
    return WORD_VECTORS in states[1] and REGION_SLOTS in states[2]
