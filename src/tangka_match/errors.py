"""One tree of errors that users meet.

Every message names the file or setting, the value found, what is allowed, and what to do next.

Entry points print such an error without a traceback and exit with code 2.
"""


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
