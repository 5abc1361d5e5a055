"""Writing files that are complete or absent, with errors that name the file."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TORCH_WRITE_ERRORS = ("PytorchStreamWriter failed", "unexpected pos")
"""Parts of the ``RuntimeError`` that ``torch.save`` raises instead of an ``OSError``."""


@contextmanager
def written_completely(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; at the end flush it to the disk and rename it.

    On any error the temporary file is removed, and so is the folder if it was made for this file.

    Args:
        path: File to write; an existing one is replaced, a missing folder is made.

    Raises:
        OSError: If the file cannot be written; ``filename`` is ``path``.
    """
    with naming(path):
        made = not path.parent.is_dir()
        path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{path.name}")
    try:
        with naming(path, partial):
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
            if made:
                path.parent.rmdir()
        raise


def write_text_completely(path: Path, text: str) -> None:
    """Write a UTF-8 file with `written_completely`."""
    with written_completely(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def naming(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Add the name of a file to errors that lack it: those of ``write``, and those of numpy and torch.

    Args:
        path: File to name.
        partial: Temporary file in whose place ``path`` is named.

    Raises:
        OSError: With ``errno``, ``strerror`` and ``filename``.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(partial):
            raise
        # numpy's own message on a full disk, "<n> requested and <m> written", has no error number
        number = error.errno or (errno.ENOSPC if "requested and" in str(error) else errno.EIO)
        raise OSError(number, os.strerror(number), str(path)) from error
    except RuntimeError as error:
        if not any(part in str(error) for part in TORCH_WRITE_ERRORS):
            raise
        raise OSError(errno.ENOSPC, "only a part could be written", str(path)) from error


@contextmanager
def folder_written_completely(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; at the end flush its files to the disk and rename it.

    On any error the temporary folder is removed; one that a killed process has left is replaced.

    Args:
        path: Folder to write; it must not exist.

    Raises:
        OSError: If the folder cannot be written.
    """
    partial = path.with_name(f".partial-{path.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with naming(path, partial):
            partial.mkdir(parents=True)
            yield partial
            for file in partial.iterdir():
                with file.open("rb") as content:
                    os.fsync(content.fileno())
            partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
