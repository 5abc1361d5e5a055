"""Between checkpoints of the published SGRAF code and ours; nothing in a file is executed.

The published file is ``{"epoch", "model": [img_enc, txt_enc, sim_enc], "best_rsum", "opt", "Eiters"}``: three state
dicts and the command line's options as an ``argparse.Namespace``.
"""

import argparse
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError
from tangka_match.models.registry import build_matcher
from tangka_match.retrieval.passport import PASSPORT_KEY, make_passport, read_checkpoint
from tangka_match.retrieval.trained_matcher import PREFIX

PARTS = ("img_enc", "txt_enc", "sim_enc")
TARGET = "tangka_match.models.SGRAF"
UNCUT = 10_000  # the published code cuts no caption
# Ours, and the published option that means the same.
OPTIONS = {
    "embed_dim": "embed_size",
    "word_dim": "word_dim",
    "sim_dim": "sim_dim",
    "num_layers": "num_layers",
    "bidirectional": "bi_gru",
    "graph_steps": "sgr_step",
}


def from_published(source: Path, vocabulary: Vocabulary) -> dict[str, Any]:
    """Read a published checkpoint as one of ours.

    Args:
        source: ``model_best.pth.tar``.
        vocabulary: That it was trained with.

    Returns:
        What ``torch.save`` writes and ``tangka_match.load`` reads. Captions are cut as the published code did: plain
        jieba after ``lower()``, punctuation kept.

    Raises:
        CheckpointError: If the file is missing, damaged, asks for more than weights and options, or does not fit the
            vocabulary.
    """
    content = _read(source)
    states, options = content["model"], vars(content["opt"])
    missing = sorted({"img_dim", "module_name", *OPTIONS.values()} - set(options))
    if missing:
        raise CheckpointError(
            f"{source}: its options lack {', '.join(missing)}; it was not written by SGRAF's train.py"
        )
    words = len(states[1]["embed.weight"])
    if words != len(vocabulary):
        raise CheckpointError(
            f"{source} has vectors for {words:,} words, but the vocabulary holds {len(vocabulary):,}: give the "
            "vocabulary that the model was trained with"
        )
    model = {
        "_target_": TARGET,
        "reasoning": options["module_name"].lower(),
        **{ours: options[theirs] for ours, theirs in OPTIONS.items()},
        "normalise_images": not options.get("no_imgnorm", False),
        "normalise_texts": not options.get("no_txtnorm", False),
    }
    num_regions = len(states[2]["v_global_w.embedding_local.1.weight"])
    matcher: Any = build_matcher(model, vocab_size=words, feature_dim=options["img_dim"], num_regions=num_regions)
    matcher.load_published_state(states)
    tokenizer = JiebaTokenizer(domain_dictionary=False, normalise=False, keep_punctuation=True)
    passport = make_passport(
        name="sgraf_published",
        run_id=source.name,
        model=model,
        vocabulary=vocabulary.to_dict(),
        vocabulary_fingerprint=vocabulary.fingerprint(),
        tokenizer=tokenizer.settings(),
        max_tokens=UNCUT,
        num_regions=num_regions,
        feature_dim=options["img_dim"],
        data_fingerprint="",
    )
    weights = {f"{PREFIX}{key}": value for key, value in matcher.state_dict().items()}
    return {"epoch": int(content["epoch"]), "global_step": int(content["Eiters"]), "state_dict": weights} | {
        PASSPORT_KEY: passport
    }


def to_published(source: Path) -> dict[str, Any]:
    """Turn a checkpoint of ours with an SGRAF inside into what the published code loads: keys, order and dtypes.

    Raises:
        CheckpointError: If the file is missing, damaged, or holds another model.
    """
    checkpoint = read_checkpoint(source)
    passport = checkpoint[PASSPORT_KEY]
    model = passport["model"]
    if model["_target_"] != TARGET:
        raise CheckpointError(f"{source} holds a {model['_target_']}; the published code knows SGRAF alone")
    weights: dict[str, Tensor] = checkpoint["state_dict"]
    states = [
        {
            key.removeprefix(f"{PREFIX}{part}."): value
            for key, value in weights.items()
            if key.startswith(f"{PREFIX}{part}.")
        }
        for part in PARTS
    ]
    defaults = {"num_layers": 1, "bidirectional": True, "graph_steps": 3}
    options = {theirs: model.get(ours, defaults.get(ours)) for ours, theirs in OPTIONS.items()} | {
        "module_name": model["reasoning"].upper(),
        "img_dim": passport["feature_dim"],
        "vocab_size": len(passport["vocabulary"]["word2idx"]),
        "no_imgnorm": not model.get("normalise_images", True),
        "no_txtnorm": not model.get("normalise_texts", True),
    }
    return {
        "epoch": int(checkpoint["epoch"]),
        "model": states,
        "best_rsum": 0.0,
        "opt": argparse.Namespace(**options),
        "Eiters": int(checkpoint["global_step"]),
    }


def _read(source: Path) -> dict[str, Any]:
    if not source.is_file():
        raise CheckpointError(f"{source}: no such checkpoint; give the path of a model_best.pth.tar")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{source}: refused, because it holds more than weights and an argparse.Namespace; nothing in it was run. "
            "Take the file from somebody you trust"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{source}: damaged or half-written ({str(error).splitlines()[0]})") from error
    keys = {"epoch", "model", "opt", "Eiters"}
    if not isinstance(content, dict) or not keys <= set(content) or len(content["model"]) != len(PARTS):
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(
            f"{source}: not a checkpoint of the published SGRAF, which holds {', '.join(sorted(keys))} and three state "
            f"dicts; found {found}"
        )
    return content
