"""Errors that users can cause and correct, with a common base class.

Every message names the file or setting, the value found, what is allowed, and what to do next. Commands print such an
error without a traceback and exit with code 2.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""``OSError.errno`` of a full disk and of an exhausted quota."""
DISK_ERRORS = (
    *DISK_FULL,
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ESTALE),
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ENAMETOOLONG, errno.ENODEV, errno.ENXIO),
)
"""``OSError.errno`` of files and folders that cannot be read or written; connections and processes have others."""


class TangkaMatchError(Exception):
    """Base class of all errors that a user can cause and correct."""


class ConfigError(TangkaMatchError, ValueError):
    """A setting is unknown, out of range, or contradicts another one."""


class DataFormatError(TangkaMatchError, ValueError):
    """A data file is missing, damaged, or not in the precomp layout."""


class ShapeError(TangkaMatchError, ValueError):
    """The axes of a tensor do not match those of another one."""


class CheckpointError(TangkaMatchError, RuntimeError):
    """A checkpoint is missing, damaged, unsafe, or belongs to another model, vocabulary or data set."""


class TrainingError(TangkaMatchError, RuntimeError):
    """A run cannot continue: a non-finite loss, a full disk, a run that has already ended."""


@contextmanager
def disk_errors_explained(place: str, advice: str) -> Iterator[None]:
    """Turn the system's errors about files and folders into a `TrainingError`; other errors pass unchanged.

    If the disk filled up while one of our own errors was being recorded, that error is raised instead.

    Args:
        place: Folder or setting to name where the system does not name a file.
        advice: What the user can do, for the end of the message.

    Raises:
        TrainingError: If the disk is full, read-only or damaged, or a file or folder is missing or not accessible.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        if isinstance(error.__context__, TangkaMatchError):
            raise error.__context__ from None
        raise TrainingError(f"{error.filename or place}: {error.strerror}; {advice}") from error


def count(number: int, noun: str) -> str:
    """Format a number with its noun.

    >>> count(1, "image"), count(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
