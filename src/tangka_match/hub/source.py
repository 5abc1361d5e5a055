"""Read pretrained models from a folder or the hub through transformers, without executing code of the model."""

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
"""``model_type`` of the supported encoders: BERT (with RoBERTa-wwm and MacBERT), ERNIE, Chinese-CLIP."""


def library() -> Any:
    """Import ``transformers``.

    Raises:
        ConfigError: If it is not installed.
    """
    if find_spec("transformers") is None:
        raise ConfigError(
            "pretrained encoders need the package transformers, which is not installed: pip install "
            "'tangka-match[pretrained]', or pip install -e '.[pretrained]' in a checkout"
        )
    return import_module("transformers")


def read_config(source: str) -> dict[str, Any]:
    """Read the config of a model, including default values, as plain values.

    Args:
        source: Folder of the model, or its name on the hub.

    Raises:
        ConfigError: If it cannot be read, or its type is none of ``TEXT_TYPES``.
    """
    config = _plain_config(source)
    if config["model_type"] not in TEXT_TYPES:
        raise ConfigError(
            f"{source} holds a model of type {config['model_type']!r}; allowed are {', '.join(TEXT_TYPES)} "
            "(RoBERTa-wwm and MacBERT are of type bert)"
        )
    return config


def read_vision_config(source: str) -> dict[str, Any]:
    """Read the config of a model that encodes pictures, including default values, as plain values.

    Args:
        source: Folder of the model, or its name on the hub.

    Raises:
        ConfigError: If it cannot be read, or the model does not take pictures.
    """
    config = _plain_config(source)
    if "num_channels" not in (config.get("vision_config") or config):
        raise ConfigError(
            f"{source} holds a model of type {config['model_type']!r}, which does not take pictures; give a vision "
            "model, such as DINOv2, CLIP, SigLIP, ConvNeXt, ResNet, ViT or Chinese-CLIP"
        )
    return config


def read_image_processor(source: str) -> Any:
    """Read the image processor of a vision model, which computes with Pillow and NumPy.

    Args:
        source: Folder of the model, or its name on the hub.

    Raises:
        ConfigError: If it cannot be read.
    """
    return read(source, "preprocessor_config.json", library().AutoImageProcessor.from_pretrained, backend="pil")


def _plain_config(source: str) -> dict[str, Any]:
    config = read(source, "config.json", library().AutoConfig.from_pretrained)
    return json.loads(json.dumps(config.to_dict()))


def load_model(source: str, class_name: str) -> Any:
    """Load a model in float32 and evaluation mode, from safetensors or with torch's restricted unpickler.

    Args:
        source: Folder of the model, or its name on the hub.
        class_name: Name of its class in transformers.

    Raises:
        ConfigError: If the weights cannot be read, or are incomplete; the pooler is not used and may be missing.
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
    """Call a ``from_pretrained`` without remote code.

    If the hub cannot be reached, a model that was downloaded before is read from the cache.

    Args:
        source: Folder of the model, or its name on the hub.
        what: File that is read, for messages.
        reader: The ``from_pretrained``.
        options: Its further arguments.

    Raises:
        ConfigError: If anything fails; the message says what to download, and to which folder.
    """
    if Path(source).is_file():
        raise ConfigError(f"{source} is a file; give the folder of the model, with config.json beside the weights")
    local = Path(source).is_dir()
    out_of_reach = None if local else _why_out_of_reach(source)
    try:
        with _quiet(local):
            return reader(
                source, trust_remote_code=False, local_files_only=local or out_of_reach is not None, **options
            )
    except Exception as error:  # transformers raises many types
        reason = (
            _reason(error)
            if out_of_reach is None
            else f"{out_of_reach}; nor does the cache of earlier downloads hold it"
        )
        if local:
            raise ConfigError(
                f"{source}: {what} of this model folder is missing or damaged ({reason}); it takes config.json, "
                "model.safetensors or pytorch_model.bin, and vocab.txt or tokenizer.json for text, "
                "preprocessor_config.json for pictures"
            ) from error
        raise ConfigError(
            f"{source!r} is no folder here, and {what} of that name cannot be read from the Hugging Face hub "
            f"({reason}). "
            f"On a machine with internet: hf download {source} --local-dir <folder>; copy that folder (config.json, "
            "model.safetensors or pytorch_model.bin, vocab.txt or tokenizer.json, preprocessor_config.json) here and "
            "give its path instead of the name"
        ) from error


@cache
def _why_out_of_reach(source: str) -> str | None:
    """Return why the hub does not provide a model, ``None`` if it does; in a single request, without retries."""
    hub = import_module("huggingface_hub")
    try:
        hub.get_hf_file_metadata(hub.hf_hub_url(source, "config.json"))
    except Exception as error:  # name, network or server
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    return shorten(str(error), 200, placeholder=" …") or type(error).__name__


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """Silence reports of unused weights, and progress bars of local files; download bars stay."""
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
