"""Checks a composed config before anything is built: every fault is reported, not the first one only."""

from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ValidationError

from tangka_match.config.arguments import argument_faults, with_registered_names
from tangka_match.config.explain import nearest
from tangka_match.errors import ConfigError
from tangka_match.records.setting_names import with_current_targets
from tangka_match.training.settings import RunSettings

SETTINGS = tuple(RunSettings.model_fields)
BUILT_BY_TARGET = ("data", "model", "loss", "optimizer", "scheduler")
GROUPS = (*SETTINGS, *BUILT_BY_TARGET)
NO_SUCH = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls a setting that a model, or a dataclass, does not have."""
OF_THE_COMMAND = ("resume", "debug", "seeds", "ensemble", "sweep")
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
    plain = with_current_targets(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    plain = with_registered_names(plain)
    faults = [
        f"{name}: there is no such setting.{nearest(name, list(GROUPS))}"
        for name in plain
        if name not in (*GROUPS, *OF_THE_COMMAND)
    ]
    for group in BUILT_BY_TARGET:
        faults += argument_faults(group, plain[group], FILLED_LATER[group])
    taught_by = plain["distillation"].get("loss")
    if taught_by is not None:
        faults += argument_faults("distillation.loss", taught_by, set())
    settings = None
    try:
        settings = RunSettings.model_validate({name: plain[name] for name in SETTINGS})
    except ValidationError as error:
        faults += [describe_fault(item) for item in error.errors()]
    raise_faults(faults)
    assert settings is not None
    return settings, plain


def raise_faults(faults: list[str]) -> None:
    """Raise one ``ConfigError`` that lists them, if there are any."""
    if faults:
        raise ConfigError("the settings contradict themselves or are out of range:\n  " + "\n  ".join(faults))


def describe_fault(item: Any, kind: type[BaseModel] = RunSettings) -> str:
    """A fault as pydantic found it, in the words of the other checks.

    Args:
        item: One of ``ValidationError.errors()``.
        kind: What the settings had to fit.
    """
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] in NO_SUCH:
        return f"{name}: there is no such setting.{nearest(item['loc'][-1], _siblings(kind, item['loc']))}"
    if item["type"] == "missing":
        return f"{name} is missing: its default was taken out of the settings; give {name} a value"
    if item["type"] == "value_error":
        return f"{name + ': ' if name else ''}{item['ctx']['error']}"
    return f"{name}={item['input']!r}: {item['msg']}"


def _siblings(kind: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    group: Any = kind
    for part in location[:-1]:
        group = group.model_fields[str(part)].annotation
    return [field.name for field in fields(group)] if is_dataclass(group) else list(group.model_fields)
