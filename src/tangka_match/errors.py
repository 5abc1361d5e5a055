"""One tree of errors that users meet.

Every message names the file or setting, the value found, what is allowed, and what to do next.

Entry points print such an error without a traceback and exit with code 2.
"""

import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""``OSError.errno`` of a full disk and of an exhausted quota."""


class TangkaMatchError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(TangkaMatchError, ValueError):
    """A setting is unknown, out of range, or contradicts another one."""


class DataFormatError(TangkaMatchError, ValueError):
    """A data file is missing, damaged, or not what the precomp layout promises."""


class ShapeError(TangkaMatchError, ValueError):
    """A tensor's axes do not fit the ones it meets."""


class CheckpointError(TangkaMatchError, RuntimeError):
    """A checkpoint is missing, damaged, unsafe, or belongs to another model, vocabulary or data set."""


class TrainingError(TangkaMatchError, RuntimeError):
    """A run cannot go on: a non-finite loss, a full disk, a run that has already ended."""


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "image"), count(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
