"""Registry of classes and functions from other packages that a config may name.

A package registers its classes and functions under names without dots, and declares the module that does so as an
entry point of the group ``tangka_match.plugins``::

    # my_package/matchers.py
    @tangka_match.register_matcher("my_matcher")
    class MyMatcher(torch.nn.Module): ...

    # pyproject.toml
    [project.entry-points."tangka_match.plugins"]
    my_package = "my_package.matchers"

A config then contains ``_target_: my_matcher``. Checkpoints store that name, never a module path, so loading one runs
only code of installed packages.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, TypeVar, overload

from tangka_match.errors import ConfigError

ENTRY_POINT_GROUP = "tangka_match.plugins"
Kind = Literal["matcher", "loss", "optimizer", "scheduler", "callback", "tokenizer"]
Target = TypeVar("Target", bound=Callable[..., Any])

_NAME = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


@dataclass(frozen=True)
class Registered:
    """A registered class or function.

    Attributes:
        name: Name in configs and checkpoints.
        kind: Kind of the entry, such as ``matcher``.
        target: The class or function.
    """

    name: str
    kind: Kind
    target: Callable[..., Any]

    @property
    def path(self) -> str:
        """Dotted path that imports the target."""
        return f"{self.target.__module__}.{self.target.__qualname__}"


_entries: dict[str, Registered] = {}
_loaded_plugins: set[EntryPoint] = set()


@overload
def register_matcher(name: str) -> Callable[[Target], Target]: ...
@overload
def register_matcher(name: str, target: Target) -> Target: ...
def register_matcher(name: str, target: Target | None = None) -> Any:
    """Register a matcher; usable as a decorator.

    The class follows ``tangka_match.Matcher``, and takes ``vocab_size``, ``feature_dim`` and ``num_regions`` besides
    its own arguments.

    Args:
        name: Name for ``model._target_``: letters, digits, ``_`` and ``-``, unique among all registered names.
        target: The class; ``None`` returns a decorator.

    Raises:
        ConfigError: If the name is not allowed or taken, or ``target`` is defined inside a function.
    """
    return _register("matcher", name, target)


@overload
def register_loss(name: str) -> Callable[[Target], Target]: ...
@overload
def register_loss(name: str, target: Target) -> Target: ...
def register_loss(name: str, target: Target | None = None) -> Any:
    """Register a loss for ``loss._target_``; arguments and errors as in `register_matcher`."""
    return _register("loss", name, target)


@overload
def register_optimizer(name: str) -> Callable[[Target], Target]: ...
@overload
def register_optimizer(name: str, target: Target) -> Target: ...
def register_optimizer(name: str, target: Target | None = None) -> Any:
    """Register an optimizer for ``optimizer._target_``, which takes ``params``; otherwise as `register_matcher`."""
    return _register("optimizer", name, target)


@overload
def register_scheduler(name: str) -> Callable[[Target], Target]: ...
@overload
def register_scheduler(name: str, target: Target) -> Target: ...
def register_scheduler(name: str, target: Target | None = None) -> Any:
    """Register a learning-rate schedule for ``scheduler._target_``; otherwise as `register_matcher`.

    It takes ``optimizer`` and ``total_steps`` in addition to its own arguments.
    """
    return _register("scheduler", name, target)


@overload
def register_callback(name: str) -> Callable[[Target], Target]: ...
@overload
def register_callback(name: str, target: Target) -> Target: ...
def register_callback(name: str, target: Target | None = None) -> Any:
    """Register a Lightning callback for ``callbacks.<name>._target_``; otherwise as `register_matcher`."""
    return _register("callback", name, target)


@overload
def register_tokenizer(name: str) -> Callable[[Target], Target]: ...
@overload
def register_tokenizer(name: str, target: Target) -> Target: ...
def register_tokenizer(name: str, target: Target | None = None) -> Any:
    """Register a tokenizer for ``data.tokenizer._target_``; otherwise as `register_matcher`.

    The class follows ``data.tokenizer.CaptionTokenizer``. Its ``settings()`` hold ``"name": <name>``, and its class
    method ``from_settings(settings)`` rebuilds it from the settings stored in a checkpoint.
    """
    return _register("tokenizer", name, target)


def find_registered(name: str) -> Registered | None:
    """Return the entry registered under a name; if there is none yet, load the plugins first.

    Raises:
        ConfigError: If a plugin cannot be imported.
    """
    if name not in _entries:
        load_plugins()
    return _entries.get(name)


def registered_name(target: object) -> str | None:
    """Return the name of a registered class or function, ``None`` if it is not registered.

    Raises:
        ConfigError: If a plugin cannot be imported.
    """
    found = _name_of(target)
    if found is None:
        load_plugins()
        found = _name_of(target)
    return found


def registered_names(kind: Kind | None = None) -> list[str]:
    """Return the registered names in alphabetical order, those of plugins included.

    Args:
        kind: Kind of the entries; all kinds if ``None``.

    Raises:
        ConfigError: If a plugin cannot be imported.
    """
    load_plugins()
    return sorted(name for name, entry in _entries.items() if kind in (None, entry.kind))


def load_plugins() -> None:
    """Import the modules that installed packages declare as plugins, each once per process.

    Raises:
        ConfigError: If one cannot be imported, with the name of its package.
    """
    for plugin in entry_points(group=ENTRY_POINT_GROUP):
        if plugin in _loaded_plugins:
            continue
        try:
            plugin.load()
        except Exception as error:  # the module may raise anything
            package = plugin.dist.name if plugin.dist is not None else plugin.name
            raise ConfigError(
                f"package {package}: its plugin {plugin.value!r} (entry-point group {ENTRY_POINT_GROUP}) cannot be "
                f"loaded ({type(error).__name__}: {error}); repair or uninstall {package}"
            ) from error
        _loaded_plugins.add(plugin)


def _name_of(target: object) -> str | None:
    return next((name for name, entry in _entries.items() if entry.target is target), None)


def _register(kind: Kind, name: str, target: Target | None) -> Any:
    if target is None:
        return lambda decorated: _register(kind, name, decorated)
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"register_{kind}({name!r}): allowed are letters, digits, '_' and '-', not starting with a digit or '-'"
        )
    entry = Registered(name, kind, target)
    if "<locals>" in entry.path:
        raise ConfigError(
            f"register_{kind}({name!r}): {entry.path} is defined inside a function; define it at the top level of a "
            "module, so that other processes can import it"
        )
    known = _entries.get(name)
    if known is not None and (known.kind, known.path) != (kind, entry.path):  # a reloaded module registers again
        raise ConfigError(
            f"register_{kind}({name!r}): the name is taken by the {known.kind} {known.path}; choose another one"
        )
    _entries[name] = entry
    return target
