"""What a ``_target_`` of the config takes: unknown, missing and wrongly typed arguments, found without calling it."""

import inspect
import json
import typing
from collections.abc import Callable
from importlib import import_module
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from tangka_match.config.explain import nearest
from tangka_match.errors import ConfigError

ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)


def argument_faults(name: str, node: dict[str, Any], filled_later: set[str]) -> list[str]:
    """Compare a node of the config with the signature of the class or function that it names.

    Args:
        name: Dotted name of the node, for the messages.
        node: Plain values; nodes inside it that have a ``_target_`` are compared as well, also in a dict of them.
        filled_later: Arguments that the code adds.

    Returns:
        One message a fault.

    >>> argument_faults("loss", {"_target_": "tangka_match.losses.TripletMarginLoss", "margni": 0.2}, set())
    ['loss.margni: tangka_match.losses.TripletMarginLoss takes no such argument. Did you mean margin?']
    """
    target = node.get("_target_", "")
    try:
        callable_ = locate(target)
    except ConfigError as error:
        return [f"{name}._target_={target!r}: {error}"]
    parameters = inspect.signature(callable_).parameters
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    settable = [key for key in parameters if key not in filled_later]
    faults = [
        f"{name}.{key}: {target} takes no such argument.{nearest(key, settable)}"
        for key in sorted(set(given) - set(parameters))
    ]
    faults += [
        f"{name}.{key}: {target} needs it, and it is not set"
        for key in settable
        if parameters[key].default is inspect.Parameter.empty and key not in given
    ]
    types = _types(callable_)
    for key in parameters:
        value = given.get(key)
        if isinstance(value, dict) and "_target_" in value:
            faults += argument_faults(f"{name}.{key}", value, set())
        elif value and isinstance(value, dict) and all(isinstance(v, dict) and "_target_" in v for v in value.values()):
            faults += [f for each, v in value.items() for f in argument_faults(f"{name}.{key}.{each}", v, set())]
        elif key in given and key in types and not _fits(value, types[key]):
            faults.append(f"{name}.{key}={value!r}: {target} takes {_say(types[key])}")
    return faults


def locate(target: str) -> Callable[..., Any]:
    """Import what a ``_target_`` names; Hydra's own function also logs its failure to the terminal."""
    module_name, _, name = target.rpartition(".")
    try:
        module = import_module(module_name) if module_name else None
    except ImportError as error:
        raise ConfigError(f"cannot be imported ({error})") from error
    known = {key: found for key in dir(module) if callable(found := getattr(module, key))}
    if name not in known:
        raise ConfigError(f"there is no such class or function.{nearest(name, list(known))}")
    return known[name]


def accepts(callable_: Callable[..., Any], name: str, value: Any) -> bool:
    """Return whether an argument accepts a value, by its annotation; one without an annotation accepts all."""
    types = _types(callable_)
    return name not in types or _fits(value, types[name])


def _types(callable_: Callable[..., Any]) -> dict[str, Any]:
    source = callable_.__init__ if inspect.isclass(callable_) else callable_
    return typing.get_type_hints(source)


def _fits(value: Any, expected: Any) -> bool:
    """As in JSON: a list is good for a tuple and a whole number for a float, but no text for a number."""
    try:
        TypeAdapter(expected, config=ANY_TYPE).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return False
    return True


def _say(expected: Any) -> str:
    """A type in short words.

    >>> _say(float | list[int] | None)
    'float | list[int] | None'
    """
    return inspect.formatannotation(expected).replace("collections.abc.", "").replace("torch.", "")
