"""Checks a composed config before anything is built: every fault is reported, not the first one only."""

import inspect
from typing import Any

from hydra.utils import get_class, get_method
from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from tangka_match.config.explain import nearest
from tangka_match.errors import ConfigError
from tangka_match.training.settings import RunSettings

SETTINGS = tuple(RunSettings.model_fields)
BUILT_BY_TARGET = ("data", "model", "loss", "optimizer", "scheduler")
FILLED_LATER = {
    "data": {"seed", "tokenizer"},
    "model": {"vocab_size", "feature_dim", "num_regions"},
    "loss": set(),
    "optimizer": {"params"},
    "scheduler": {"optimizer", "total_steps"},
}


def check_config(config: DictConfig) -> tuple[RunSettings, dict[str, Any]]:
    """Check names, types, ranges and contradictions.

    Args:
        config: As Hydra composed it.

    Returns:
        The typed settings, and the whole config as plain values.

    Raises:
        ConfigError: Listing every fault with its dotted name, the value found, and what is allowed.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    faults = [fault for group in BUILT_BY_TARGET for fault in _target_faults(group, plain[group])]
    settings = None
    try:
        settings = RunSettings.model_validate({name: plain[name] for name in SETTINGS})
    except ValidationError as error:
        faults += [_describe(item) for item in error.errors()]
    if faults or settings is None:
        raise ConfigError("the settings contradict themselves or are out of range:\n  " + "\n  ".join(faults))
    return settings, plain


def _describe(item: Any) -> str:
    name = ".".join(str(part) for part in item["loc"])
    message = item["msg"].removeprefix("Value error, ")
    return message if item["type"] == "value_error" else f"{name}={item['input']!r}: {message}"


def _target_faults(group: str, node: dict[str, Any]) -> list[str]:
    """Arguments that the class or function named by ``_target_`` does not take, or lacks."""
    target = node.get("_target_", "")
    try:
        callable_ = get_class(target) if target.rsplit(".", 1)[-1][:1].isupper() else get_method(target)
    except Exception as error:
        return [f"{group}._target_={target!r}: cannot be imported ({error})"]
    parameters = inspect.signature(callable_).parameters
    given = {key for key in node if key not in ("_target_", "_partial_")}
    known = [name for name in parameters if name not in FILLED_LATER[group]]
    unknown = sorted(given - set(parameters))
    needed = {
        n for n, p in parameters.items() if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    missing = sorted(needed - given - FILLED_LATER[group])
    return [f"{group}.{key}: {target} takes no such argument.{nearest(key, known)}" for key in unknown] + [
        f"{group}.{key}: {target} needs it, and it is not set" for key in missing
    ]
