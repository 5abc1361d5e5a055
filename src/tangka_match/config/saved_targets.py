"""What a config that is read back from disk may build: the classes of the group that names them, and nothing else."""

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from tangka_match import losses
from tangka_match.errors import ConfigError
from tangka_match.models.registry import list_models
from tangka_match.records.setting_names import with_current_targets
from tangka_match.registry import Kind, find_registered
from tangka_match.training import callbacks

TARGET, ARGUMENTS = "_target_", "_args_"
REFERENCE = re.compile(r"\$\{[A-Za-z_]\w*(?:\.\w+)*\}")
"""The only interpolation that our configs use: the value of another setting."""
BUILT_IN_CLASSES: dict[Kind, tuple[tuple[ModuleType, type], ...]] = {
    "loss": ((losses, torch.nn.Module),),
    "optimizer": ((torch.optim, torch.optim.Optimizer),),
    "scheduler": ((torch.optim.lr_scheduler, torch.optim.lr_scheduler.LRScheduler),),
    "callback": ((callbacks, pl.Callback), (pl.callbacks, pl.Callback)),
}
"""Packages whose classes a group may name, with the base class that they must have."""
BUILT_IN_NAMES: dict[Kind, tuple[str, ...]] = {
    "scheduler": tuple(
        f"tangka_match.training.optimisation.warmup_{shape}" for shape in ("constant", "cosine", "step_decay")
    ),
    "tokenizer": tuple(f"tangka_match.data.tokenizer.{name}Tokenizer" for name in ("Jieba", "Piece")),
}
NESTED_KINDS: dict[str, Kind] = {
    "loss.": "loss",
    "optimizer.": "optimizer",
    "scheduler.": "scheduler",
    "callbacks.": "callback",
    "distillation.loss.": "loss",
}
"""Start of a dotted name -> kind of the classes named at any depth below it."""
SINGLE_KINDS: dict[str, Kind] = {"model._target_": "matcher", "data.tokenizer._target_": "tokenizer"}
SINGLE_TARGETS = {
    "data._target_": "tangka_match.data.datamodule.RegionTextDataModule",
    "data.writer._target_": "tangka_match.demo.writer.DemoWriter",
}


def check_saved_targets(source: str, saved: DictConfig, named_again: Mapping[str, Any], command: str) -> None:
    """Check that a config read back from disk names only classes that belong where they stand.

    Allowed are the classes of this package, optimizers and schedules of torch and callbacks of Lightning in the group
    of their kind, and what an installed package registered. Apart from those packages' plugins nothing is imported.

    Args:
        source: File of the config, for messages.
        saved: The config, unresolved.
        named_again: Values of the command line by dotted name; a name with the same value is allowed.
        command: Overrides that read the file, such as ``resume=last trainer.max_epochs=60``.

    Raises:
        ConfigError: If another name is given, or an interpolation could change between the check and the build.
    """
    faults = [
        f"{name}={value!r}: an interpolation may only name another value, such as ${{paths.data}}, and not in "
        f"{TARGET} or {ARGUMENTS}; write the value itself"
        for name, value in _leaves(OmegaConf.to_container(saved, resolve=False))
        if _is_unsafe_interpolation(saved, name, str(value))
    ]
    resolved = {} if faults else with_current_targets(OmegaConf.to_container(saved, resolve=True))
    faults += [
        f"{name}={value!r}: an interpolation that is resolved twice could name anything; write the value itself"
        for name, value in _leaves(resolved)
        if isinstance(value, str) and "${" in value
    ]
    faults += [
        f"{name}={value!r}: allowed are here {_allowed_here(name)}. If you named it yourself when the run began, name "
        f"it again: {command} '++{name}={value}'"
        for name, value in _leaves(resolved)
        if name.rpartition(".")[2] in (TARGET, ARGUMENTS)
        and (name not in named_again or named_again[name] != value)
        and not (isinstance(value, str) and _is_allowed(name, value))
    ]
    if faults:
        raise ConfigError(
            f"{source} names code that a saved file may not choose; nothing of it was imported:\n  "
            + "\n  ".join(faults)
            + "\nOtherwise the file was altered: start a new run"
        )


def _is_unsafe_interpolation(saved: DictConfig, name: str, value: str) -> bool:
    """Whether an interpolation could stand for something else when the run is built than when it is checked.

    The check and the build resolve the config separately, and `with_current_targets` is applied in between.
    """
    if "${" not in value:
        return False
    if name.rpartition(".")[2] in (TARGET, ARGUMENTS) or "${" in REFERENCE.sub("", value):
        return True
    return any(OmegaConf.is_config(OmegaConf.select(saved, found[2:-1])) for found in REFERENCE.findall(value))


def _leaves(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and value of every leaf; ``_args_`` counts as one."""
    if isinstance(node, dict) and name.rpartition(".")[2] != ARGUMENTS:
        for key, value in node.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, list) and name.rpartition(".")[2] != ARGUMENTS:
        for number, value in enumerate(node):
            yield from _leaves(value, f"{name}.{number}")
    else:
        yield name, node


def _kind(name: str) -> Kind | None:
    nested = (kind for start, kind in NESTED_KINDS.items() if name.startswith(start))
    return SINGLE_KINDS.get(name) or next(nested, None)


def _is_allowed(name: str, target: str) -> bool:
    if name.endswith(ARGUMENTS):
        return False
    kind = _kind(name)
    if kind is None:
        return SINGLE_TARGETS.get(name) == target
    if kind == "matcher":
        return target in list_models()
    if "." not in target:
        entry = find_registered(target)
        return entry is not None and entry.kind == kind
    return target in BUILT_IN_NAMES.get(kind, ()) or _is_built_in_class(kind, target)


def _is_built_in_class(kind: Kind, target: str) -> bool:
    """Whether a dotted path names a class of the packages of its kind; looks at imported modules only."""
    path, _, name = target.rpartition(".")
    found = vars(sys.modules[path]).get(name) if path in sys.modules else None
    return any(
        f"{path}.".startswith(f"{package.__name__}.") and inspect.isclass(found) and issubclass(found, base)
        for package, base in BUILT_IN_CLASSES.get(kind, ())
    )


def _allowed_here(name: str) -> str:
    """Describe what a place may name.

    >>> _allowed_here("optimizer._target_"), _allowed_here("trainer._target_")
    ('classes of torch.optim and registered optimizers', 'no class')
    """
    kind = _kind(name)
    if kind is None or name.endswith(ARGUMENTS):
        return SINGLE_TARGETS.get(name, "no class")
    packages = [package.__name__ for package, _ in BUILT_IN_CLASSES.get(kind, ())] or list(BUILT_IN_NAMES.get(kind, ()))
    own = "classes of " + ", ".join(packages) if packages else "the models of tangka_match"
    return f"{own} and registered {'losses' if kind == 'loss' else f'{kind}s'}"
