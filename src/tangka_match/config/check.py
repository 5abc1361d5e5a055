"""Checks a composed config before anything is built; all faults are reported at once."""

import inspect
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from tangka_match.config.arguments import accepts, argument_faults, locate, parameters, with_registered_names
from tangka_match.config.explain import describe_fault, nearest, raise_faults
from tangka_match.errors import ConfigError
from tangka_match.records.setting_names import NON_RUN_KEYS, with_current_targets
from tangka_match.training.settings import RunSettings, TrainerSettings
from tangka_match.training.trainer import ALLOWED_ARGUMENTS, REFUSED_ARGUMENTS

SETTINGS = tuple(RunSettings.model_fields)
BUILT_BY_TARGET = ("data", "model", "loss", "optimizer", "scheduler")
"""Groups that are built by their ``_target_``; ``callbacks`` holds any number of such nodes."""
GROUPS_OF_SETTINGS = ("paths", "augmentation", "distillation", "training", "trainer", "logger")
GROUPS = (*SETTINGS, *BUILT_BY_TARGET, "callbacks")
FILLED_LATER = {
    "data": {"seed", "tokenizer"},
    "model": {"vocab_size", "feature_dim", "num_regions"},
    "loss": set(),
    "optimizer": {"params"},
    "scheduler": {"optimizer", "total_steps"},
}
"""Arguments of each group that the code fills in when it builds the part."""


def check_config(config: DictConfig) -> tuple[RunSettings, dict[str, Any]]:
    """Check names, types, ranges and contradictions of a config.

    Args:
        config: Config as composed by Hydra or saved by a run.

    Returns:
        The typed settings, and the config as plain values. ``callbacks`` keep their interpolations, such as
        ``${training.monitor}``, so that the records hold each value once.

    Raises:
        ConfigError: If there are faults; the message lists each with its dotted name, value and what is allowed.
    """
    plain = with_current_targets(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    plain = with_registered_names(plain)
    raise_faults(_shape_faults(plain))
    faults = [
        f"{name}: there is no such setting.{nearest(name, list(GROUPS))}"
        for name in plain
        if name not in (*GROUPS, *NON_RUN_KEYS)
    ]
    for group in BUILT_BY_TARGET:
        faults += argument_faults(group, plain[group], FILLED_LATER[group])
    for name, node in (plain.get("callbacks") or {}).items():
        faults += [] if node is None else _callback_faults(f"callbacks.{name}", node)
    distillation_loss = plain["distillation"].get("loss")
    if distillation_loss is not None:
        faults += argument_faults("distillation.loss", distillation_loss, set())
    faults += _trainer_faults(plain["trainer"])
    settings = None
    try:
        settings = RunSettings.model_validate({name: plain[name] for name in SETTINGS})
    except ValidationError as error:
        faults += [describe_fault(item, RunSettings) for item in error.errors()]
    raise_faults(faults)
    assert settings is not None
    return settings, plain | {"callbacks": _unresolved(config.get("callbacks"))}


def _shape_faults(plain: dict[str, Any]) -> list[str]:
    """Find groups that are missing or hold a single value, and names of classes that are not text."""
    groups = (*BUILT_BY_TARGET, *GROUPS_OF_SETTINGS, *(["callbacks"] if plain.get("callbacks") is not None else []))
    wrong = [name for name in groups if not isinstance(plain.get(name), dict)]
    faults = [
        f"{name} is missing: choose one of conf/{name} with {name}=<name>"
        if name not in plain
        else f"{name}={plain[name]!r}: it must hold settings; choose one of conf/{name} with {name}=<name>"
        for name in wrong
    ]
    return faults + [
        f"{name}._target_={plain[name].get('_target_')!r}: give the dotted name of a class"
        for name in BUILT_BY_TARGET
        if name not in wrong and not isinstance(plain[name].get("_target_"), str)
    ]


def _unresolved(node: DictConfig | None) -> dict[str, Any]:
    return (
        {} if node is None else with_registered_names(with_current_targets(OmegaConf.to_container(node, resolve=False)))
    )


def active_callbacks(nodes: dict[str, Any] | None) -> dict[str, Any]:
    """Select the nodes of the group ``callbacks`` that are switched on.

    A node is off if it is null, or if an argument is null that has no default and does not accept null: the callback of
    ``early_stopping`` is off if ``training.early_stopping_patience`` is null.

    Args:
        nodes: Nodes by name, resolved.
    """
    return {name: node for name, node in (nodes or {}).items() if node is not None and not _null_arguments(node)}


def _callback_faults(name: str, node: Any) -> list[str]:
    if not isinstance(node, dict):
        return [f"{name}={node!r}: give the callback's class as {name}._target_=<package.Class>, or null"]
    off = _null_arguments(node)
    return argument_faults(name, {key: value for key, value in node.items() if key not in off}, off)


def _null_arguments(node: dict[str, Any]) -> set[str]:
    """Return the arguments without a default that are null but do not accept null."""
    if None not in node.values():
        return set()
    try:
        target = locate(node.get("_target_", ""))
        known = parameters(target)
    except ConfigError:
        return set()
    required = {name for name, parameter in known.items() if parameter.default is inspect.Parameter.empty}
    return {name for name in required & set(node) if node[name] is None and not accepts(target, name, None)}


def _trainer_faults(plain: dict[str, Any]) -> list[str]:
    """Check the arguments of Lightning's ``Trainer`` that `TrainerSettings` does not declare."""
    faults = []
    further = {name: value for name, value in plain.items() if name not in TrainerSettings.model_fields}
    for name in further:
        if name in REFUSED_ARGUMENTS:
            faults.append(f"trainer.{name} cannot be set: {REFUSED_ARGUMENTS[name]}")
        elif name not in ALLOWED_ARGUMENTS:
            faults.append(f"trainer.{name}: there is no such setting.{nearest(name, list(ALLOWED_ARGUMENTS))}")
    known = {name: value for name, value in further.items() if name in ALLOWED_ARGUMENTS}
    return faults + argument_faults("trainer", {"_target_": "pytorch_lightning.Trainer", **known}, set())
