"""What a folder or a hub name holds, read through transformers; nothing that it brings along is run."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from tangka_match.errors import ConfigError

TEXT_TYPES = ("bert", "ernie", "chinese_clip")
"""``model_type`` of the encoders that can be read: BERT (RoBERTa-wwm and MacBERT are BERTs), ERNIE, Chinese-CLIP."""


def library() -> Any:
    """The package ``transformers``, imported now.

    Raises:
        ConfigError: It is not installed.
    """
    if find_spec("transformers") is None:
        raise ConfigError(
            "pretrained encoders need the package transformers, which is not installed: pip install "
            "'tangka-match[pretrained]', or pip install -e '.[pretrained]' in a checkout"
        )
    return import_module("transformers")


def read_config(source: str) -> dict[str, Any]:
    """The ``config.json`` of a model, with the defaults of its kind filled in, as plain values.

    Args:
        source: A folder, or a name on the hub.

    Raises:
        ConfigError: It cannot be read, or is a model of another kind than ``TEXT_TYPES``.
    """
    config = read(source, "config.json", library().AutoConfig.from_pretrained)
    if config.model_type not in TEXT_TYPES:
        raise ConfigError(
            f"{source} holds a model of type {config.model_type!r}; allowed are {', '.join(TEXT_TYPES)} "
            "(RoBERTa-wwm and MacBERT are of type bert)"
        )
    return json.loads(json.dumps(config.to_dict()))


def load_model(source: str, class_name: str) -> Any:
    """A model with its weights, in float32 and evaluation mode, from safetensors or by torch's restricted unpickler.

    Args:
        source: A folder, or a name on the hub.
        class_name: Of the class of transformers that the weights belong to.

    Raises:
        ConfigError: They cannot be read, or lack a part of the model; a pooler may be missing, it is not used.
    """
    transformers = library()
    reader = getattr(transformers, class_name).from_pretrained
    model, report = read(
        source, "model.safetensors", reader, output_loading_info=True, weights_only=True, dtype=torch.float32
    )
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(("pooler.", "text_model.pooler.")))
    if missing:
        raise ConfigError(
            f"{source}: its weights lack {len(missing)} parts of a {class_name}, first {missing[0]}; "
            "copy or download the folder again"
        )
    return model


def read(source: str, what: str, reader: Callable[..., Any], **options: Any) -> Any:
    """Call a ``from_pretrained`` without remote code, and turn its many errors into one message.

    A model of the hub that has been downloaded before is read from the cache where the hub cannot be reached.

    Raises:
        ConfigError: Saying what to download and where to put it.
    """
    local = Path(source).is_dir()
    out_of_reach = None if local else _why_out_of_reach(source)
    try:
        with _quiet(local):
            return reader(
                source, trust_remote_code=False, local_files_only=local or out_of_reach is not None, **options
            )
    except Exception as error:  # the hub, the file formats and the model's class raise what they like
        reason = (
            _reason(error)
            if out_of_reach is None
            else f"{out_of_reach}; nor does the cache of earlier downloads hold it"
        )
        if local:
            raise ConfigError(
                f"{source}: {what} of this model folder is missing or damaged ({reason}); it takes config.json, "
                "vocab.txt or tokenizer.json, and model.safetensors or pytorch_model.bin"
            ) from error
        raise ConfigError(
            f"{source!r} is no folder here, and {what} of that name cannot be read from the Hugging Face hub "
            f"({reason}). "
            f"On a machine with internet: hf download {source} --local-dir <folder>; copy that folder (config.json, "
            "vocab.txt or tokenizer.json, model.safetensors or pytorch_model.bin) here and give its path "
            "instead of the name"
        ) from error


@cache
def _why_out_of_reach(source: str) -> str | None:
    """Why the hub gives nothing of this name, asked once and without the retries of a download; ``None`` if it does."""
    hub = import_module("huggingface_hub")
    try:
        hub.get_hf_file_metadata(hub.hf_hub_url(source, "config.json"))
    except Exception as error:  # of the name, the network, the server
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    return shorten(str(error), 200, placeholder=" …") or type(error).__name__


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """No report of the heads that a pretraining left over; the bars of a download stay, those of a local file go."""
    logging = library().utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if local:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
