"""Output to the terminal that never decides how a command ends.

A reader that has gone (``| head``), a closed or full stdout, and an encoding without Chinese lose output; the command
goes on, and its log file has everything.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


class LastingStream:
    """Text stream whose writes do not fail: from the first error on, its descriptor leads to the null device.

    Args:
        stream: Stream of the process, such as ``sys.stdout``.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or drop it."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self._give_up()
            return len(text)

    def flush(self) -> None:
        """Pass on what was written, or drop it."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._give_up()

    def _give_up(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            # The same descriptor, so that Python's own flush at exit and child processes do not fail either.
            os.dup2(null, self._stream.fileno())
        except (OSError, ValueError):  # a stream that was closed within Python
            self._stream = _null()
        finally:
            os.close(null)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Replace ``sys.stdout`` and ``sys.stderr`` by streams that do not fail, until the block ends."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_lasting(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if before[0] is not None and before[1] is not None:
            sys.stdout, sys.stderr = before


def _lasting(stream: Any) -> Any:
    if stream is None:  # the descriptor was closed before Python started
        return _null()
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.reconfigure(errors="backslashreplace")
    return LastingStream(stream)


def _null() -> TextIO:
    """Open the null device; it stays open until the process ends."""
    return Path(os.devnull).open("w", encoding="utf-8")
