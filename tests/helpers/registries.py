"""A registry of plugins that tests may fill."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from tangka_match import registry


@contextmanager
def empty_registry() -> Iterator[None]:
    """Forget what was registered, and which plugins were loaded; afterwards it is known again."""
    with mock.patch.dict(registry._entries, clear=True), mock.patch.object(registry, "_loaded_plugins", set()):
        yield
