"""Empty registry of plugins for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from tangka_match import registry


@contextmanager
def empty_registry() -> Iterator[None]:
    """Remove all registered entries and loaded plugins until the block ends."""
    with mock.patch.dict(registry._entries, clear=True), mock.patch.object(registry, "_loaded_plugins", set()):
        yield
