"""Resolve the ``_target_`` of a config node, and check the node's arguments against it without calling it."""

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from tangka_match.config.explain import nearest
from tangka_match.errors import ConfigError
from tangka_match.models.registry import built_in_name
from tangka_match.registry import Registered, find_registered, registered_name, registered_names

HYDRA_KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "_args_": (lambda value: isinstance(value, list), "a list of arguments"),
    "_partial_": (lambda value: isinstance(value, bool), "true or false"),
    "_recursive_": (lambda value: isinstance(value, bool), "true or false"),
    "_convert_": (lambda value: value in ("none", "partial", "object", "all"), "none, partial, object or all"),
}
"""Keys that Hydra reads when it builds a node, with what they may hold."""
ANY_TYPE = ConfigDict(arbitrary_types_allowed=True)


def argument_faults(name: str, node: dict[str, Any], filled_later: set[str]) -> list[str]:
    """Find unknown, missing and wrongly typed arguments of a config node.

    Args:
        name: Dotted name of the node, for messages.
        node: Plain values; nested nodes with a ``_target_``, and dicts of such nodes, are checked too.
        filled_later: Arguments that the code adds.

    Returns:
        One message per fault.

    >>> argument_faults("loss", {"_target_": "tangka_match.losses.TripletMarginLoss", "margni": 0.2}, set())
    ['loss.margni: tangka_match.losses.TripletMarginLoss takes no such argument. Did you mean margin?']
    """
    target = node.get("_target_", "")
    try:
        callable_ = locate(target)
        known = parameters(callable_)
    except ConfigError as error:
        return [f"{name}._target_={target!r}: {error}"]
    faults = [
        f"{name}.{key}={node[key]!r}: it must be {allowed}"
        for key, (fits, allowed) in HYDRA_KEYS.items()
        if key in node and not fits(node[key])
    ]
    given = {key: value for key, value in node.items() if not key.startswith("_")}
    settable = [key for key in known if key not in filled_later]
    faults += [
        f"{name}.{key}: {target} takes no such argument.{nearest(key, settable)}"
        for key in sorted(set(given) - set(known))
    ]
    faults += [
        f"{name}.{key}: {target} needs it, and it is not set"
        for key in settable
        if known[key].default is inspect.Parameter.empty and key not in given
    ]
    types = _types(callable_)
    for key in known:
        value = given.get(key)
        if isinstance(value, dict) and "_target_" in value:
            faults += argument_faults(f"{name}.{key}", value, set())
        elif value and isinstance(value, dict) and all(isinstance(v, dict) and "_target_" in v for v in value.values()):
            faults += [f for each, v in value.items() for f in argument_faults(f"{name}.{key}.{each}", v, set())]
        elif key in given and key in types and not _fits(value, types[key]):
            faults.append(f"{name}.{key}={value!r}: {target} takes {_say(types[key])}")
    return faults


def with_registered_names(node: Any) -> Any:
    """Return a copy of a plain config in which every registered class or function is named as it is registered.

    Saved configs and checkpoints then hold that name, never the path of a module. A matcher of this package gets the
    name under which checkpoints know it. A ``_target_`` that cannot be imported stays as it is.

    >>> with_registered_names({"_target_": "tangka_match.models.sgraf.matcher.SGRAF", "reasoning": "saf"})
    {'_target_': 'tangka_match.models.SGRAF', 'reasoning': 'saf'}
    """
    return _with_targets(node, _stored_name)


def with_import_paths(node: Any) -> Any:
    """Return a copy of a plain config in which every registered name is the dotted path that Hydra imports."""
    return _with_targets(node, lambda target: entry.path if (entry := _registered(target)) else target)


def _with_targets(node: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(node, dict):
        renamed = {key: _with_targets(value, rename) for key, value in node.items()}
        if isinstance(target := node.get("_target_"), str):
            renamed["_target_"] = rename(target)
        return renamed
    return [_with_targets(item, rename) for item in node] if isinstance(node, list) else node


def _registered(target: str) -> Registered | None:
    return find_registered(target) if target and "." not in target else None


def _stored_name(target: str) -> str:
    try:
        found = locate(target)
    except ConfigError:
        return target
    own = target.startswith(("tangka_match.", "torch."))
    return built_in_name(found) or (None if own else registered_name(found)) or target


def locate(target: str) -> Callable[..., Any]:
    """Return the class or function that a ``_target_`` names; Hydra's own function also logs its failures.

    Raises:
        ConfigError: If it is not text, or names nothing that can be called.
    """
    if not isinstance(target, str):
        raise ConfigError("give the dotted name of a class")
    if entry := _registered(target):
        return entry.target
    module_name, _, name = target.rpartition(".")
    try:
        module = import_module(module_name) if module_name else None
    except Exception as error:  # what is imported may do anything
        raise ConfigError(f"cannot be imported ({error})") from error
    known = {key: found for key in dir(module) if callable(found := getattr(module, key))}
    if name not in known:
        names = list(known) if module_name else registered_names()
        raise ConfigError(f"there is no such class or function.{nearest(name, names)}")
    return known[name]


def accepts(callable_: Callable[..., Any], name: str, value: Any) -> bool:
    """Return whether an argument accepts a value, by its annotation; one without an annotation accepts all."""
    types = _types(callable_)
    return name not in types or _fits(value, types[name])


def parameters(callable_: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class or function by name.

    Raises:
        ConfigError: If Python cannot tell them, as of ``builtins.dict``.
    """
    try:
        return inspect.signature(callable_).parameters
    except (TypeError, ValueError) as error:
        raise ConfigError("its arguments cannot be known; write a function that calls it") from error


def _types(callable_: Callable[..., Any]) -> dict[str, Any]:
    source = callable_.__init__ if inspect.isclass(callable_) else callable_
    try:
        return typing.get_type_hints(source)
    except (AttributeError, NameError, SyntaxError, TypeError):  # imported for type checkers only, or no function
        return {}


def _fits(value: Any, expected: Any) -> bool:
    """Compare as in JSON: a list fits a tuple and an integer fits a float, but a string does not fit a number."""
    try:
        TypeAdapter(expected, config=ANY_TYPE).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return False
    except PydanticUserError:  # a type that pydantic cannot check
        return True
    return True


def _say(expected: Any) -> str:
    """Format a type without module names.

    >>> _say(float | list[int] | None)
    'float | list[int] | None'
    """
    return inspect.formatannotation(expected).replace("collections.abc.", "").replace("torch.", "")
