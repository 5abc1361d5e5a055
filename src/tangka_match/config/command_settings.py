"""The settings of a command other than ``train``: typed, every fault in one message."""

from collections.abc import Sequence
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, ValidationError

from tangka_match.config.check import describe_fault, raise_faults
from tangka_match.config.explain import nearest

Settings = TypeVar("Settings", bound=BaseModel)


def check_settings(
    config: DictConfig, kind: type[Settings], beside: Sequence[str] = ("data", "paths", "debug")
) -> Settings:
    """Check a command's settings, all of them before the first message.

    Args:
        config: As Hydra composed it.
        kind: What it must fit.
        beside: Names that the config may hold as well, checked elsewhere.

    Raises:
        ConfigError: Listing every fault.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    known = [*kind.model_fields, *beside]
    faults = [f"{name}: there is no such setting.{nearest(name, known)}" for name in plain if name not in known]
    # An empty path would be the folder one stands in, and an empty run id the beginning of every one.
    faults += [
        f"{name} is empty: write {name}=<value>, or leave it out"
        for name in kind.model_fields
        if plain.get(name) == "" or (isinstance(plain.get(name), list) and "" in plain[name])
    ]
    if (plain.get("data") or {}).get("root") == "":
        faults.append("data.root is empty: write data.root=<folder of the data set>")
    settings = None
    try:
        settings = kind.model_validate({name: plain[name] for name in kind.model_fields if name in plain})
    except ValidationError as error:
        faults += [describe_fault(item, kind) for item in error.errors()]
    raise_faults(faults)
    assert settings is not None
    return settings
