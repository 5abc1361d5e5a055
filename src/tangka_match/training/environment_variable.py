"""An environment variable for a while."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def environment_variable(name: str, value: str) -> Iterator[None]:
    """Set a variable, for this process and those that it starts, and put back what was there before.

    >>> with environment_variable("TANGKA_EXAMPLE", "here"):
    ...     os.environ["TANGKA_EXAMPLE"]
    'here'
    >>> "TANGKA_EXAMPLE" in os.environ
    False
    """
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
