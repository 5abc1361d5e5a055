"""Matchers by name: those of this package, and registered ones of other packages."""

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.registry import ENTRY_POINT_GROUP, find_registered, registered_names
from tangka_match.types import Matcher

_FROM_DATA = ("vocab_size", "feature_dim", "num_regions")
_PACKAGE = "tangka_match.models"
_MODELS: Any = import_module(_PACKAGE)
_BUILT_IN = tuple(f"{_PACKAGE}.{name}" for name in sorted(_MODELS.__all__))


def list_models() -> list[str]:
    """List the matchers that ``model._target_`` and a checkpoint may name, registered ones included.

    Raises:
        ConfigError: If a plugin cannot be imported.

    Example:
        >>> list_models()[:2]
        ['tangka_match.models.CCA', 'tangka_match.models.ChineseCLIP']
    """
    return [*_BUILT_IN, *registered_names("matcher")]


def built_in_name(target: object) -> str | None:
    """Return the name under which checkpoints store a matcher class of this package, ``None`` for anything else.

    >>> built_in_name(_MODELS.SGRAF), built_in_name(dict)
    ('tangka_match.models.SGRAF', None)
    """
    name = f"{_PACKAGE}.{getattr(target, '__name__', '')}"
    return name if _find(name) is target else None


def check_loadable(target: str) -> None:
    """Check before training that a model's checkpoints can be loaded again.

    Args:
        target: The ``_target_`` of the model.

    Raises:
        ConfigError: If it is none of `list_models`.
    """
    if _find(target) is None:
        raise ConfigError(
            f"model._target_={target!r} is neither a model of tangka_match nor registered, so nothing could load its "
            'checkpoints: decorate the class with @tangka_match.register_matcher("my_matcher"), and declare its module '
            f"as an entry point of the group {ENTRY_POINT_GROUP}"
        )


def build_matcher(spec: Mapping[str, object], *, vocab_size: int, feature_dim: int, num_regions: int) -> Matcher:
    """Build the matcher that a checkpoint describes.

    The name must be one of `list_models`: a checkpoint cannot make this function import or call anything else.

    Args:
        spec: ``{"_target_": "tangka_match.models.SGRAF", ...}``: name and arguments, without the three below.
        vocab_size: Number of words in the vocabulary.
        feature_dim: Dimensions of a region feature.
        num_regions: Number of regions per image.

    Raises:
        CheckpointError: If the name or an argument is unknown, an argument is missing, or a value is not allowed.

    Example:
        >>> spec = {"_target_": "tangka_match.models.SGRAF", "reasoning": "saf", "embed_dim": 8}
        >>> type(build_matcher(spec, vocab_size=50, feature_dim=16, num_regions=3)).__name__
        'SGRAF'
    """
    target = spec.get("_target_")
    model = _find(target)
    if model is None:
        raise CheckpointError(
            f"the checkpoint names the model {target!r}; allowed are {', '.join(list_models())}. A model of another "
            "package must be registered: install the package that registers it, or import it first"
        )
    arguments = {name: value for name, value in spec.items() if name != "_target_"}
    known = inspect.signature(model).parameters
    settable = [name for name in known if name not in _FROM_DATA]
    unknown = sorted(name for name in arguments if name not in settable)
    if unknown:
        raise CheckpointError(f"the checkpoint gives {target} unknown arguments {unknown}; it knows {settable}")
    missing = [name for name in settable if known[name].default is inspect.Parameter.empty and name not in arguments]
    if missing:
        raise CheckpointError(f"the checkpoint does not give {target} the arguments {missing}")
    try:
        return model(vocab_size=vocab_size, feature_dim=feature_dim, num_regions=num_regions, **arguments)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        # ConfigError, or what torch and classes of other packages raise
        raise CheckpointError(f"the checkpoint describes an impossible model: {error}") from error


def _find(target: object) -> Callable[..., Any] | None:
    if not isinstance(target, str):
        return None
    if target.startswith(f"{_PACKAGE}."):
        return getattr(_MODELS, target.rpartition(".")[2]) if target in _BUILT_IN else None
    entry = None if "." in target else find_registered(target)
    return entry.target if entry is not None and entry.kind == "matcher" else None
