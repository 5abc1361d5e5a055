"""Bind the address of the page before anything slow is done; imports neither FastAPI nor uvicorn."""

import os
import socket
from importlib import import_module

from tangka_match.errors import ConfigError

MAX_CONNECTIONS = 128
"""Open connections; further ones are refused with 503."""


def open_socket(host: str, port: int) -> socket.socket:
    """Bind an address.

    Raises:
        ConfigError: If the extra ``search`` is not installed, the port is in use, or the host is not this machine.
    """
    try:
        import_module("uvicorn")
        import_module("fastapi")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f'the page needs FastAPI and uvicorn: pip install "tangka-match[search]" ({error}); query= answers in the '
            "terminal without them"
        ) from error
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
    except OSError as error:
        # The text of a failed bind repeats the address; that of an unknown name has no number of its own.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise ConfigError(
            f"host={host} port={port}: cannot be opened ({reason}); set port to another number, or to 0 "
            "for any free one"
        ) from error
