"""Load files written by ``torch.save`` without executing anything in them."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tangka_match.errors import CheckpointError

COPY_AGAIN = "copy or download it again"


class StandIn:
    """Placeholder for a pickled object of an unknown class: accepts any arguments and state, and keeps none."""

    def __init__(self, *_: object) -> None:
        pass

    def __new__(cls, *_: object) -> "StandIn":
        """Create an empty instance, whatever arguments the file passes to the class."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


def load_weights(source: Path, allowed: Sequence[Callable[..., Any]] = (), *, if_damaged: str = COPY_AGAIN) -> Any:
    """Load a file with torch's restricted unpickler: tensors, plain values and the allowed classes.

    Args:
        source: File written by ``torch.save``.
        allowed: Classes that the file may instantiate.
        if_damaged: Advice in the message about a damaged file.

    Returns:
        The content, tensors on the CPU.

    Raises:
        CheckpointError: If the file is missing, damaged, or names any other class or function; nothing of it has been
            executed.
    """
    return _load(source, list(allowed), if_damaged)


def load_with_stand_ins(source: Path) -> tuple[Any, list[str]]:
    """Load a file that also holds pickled objects of other programs, with a `StandIn` for each of them.

    Their classes are neither imported nor called, and their contents are dropped. Files that name parts of ``os``,
    ``posix``, ``nt`` or ``sys`` are still refused, because no legitimate checkpoint does.

    Args:
        source: File written by ``torch.save``.

    Returns:
        The content, and the sorted names of the replaced classes and functions.

    Raises:
        CheckpointError: If the file is missing, damaged, or names parts of the operating system.
    """
    names: list[str] = []
    if zipfile.is_zipfile(source):  # the format of every torch since 1.6
        try:
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(source)))
        except Exception as error:  # a damaged file can raise nearly anything
            raise _damaged(source, error, COPY_AGAIN) from error
    return _load(source, [(StandIn, name) for name in names], COPY_AGAIN), names


def _load(source: Path, allowed: list[Any], if_damaged: str) -> Any:
    if not source.is_file():
        raise CheckpointError(f"{source}: no such checkpoint file; check the path")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore", UserWarning)  # about a pickle protocol that is refused anyway
            content = torch.load(source, map_location="cpu", weights_only=True)
        if zipfile.is_zipfile(source):
            _check_sums(source)
    except pickle.UnpicklingError as error:
        # torch's own message is not shown: it explains how to execute the functions that the file names.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        other = "objects that only a call could make" if zipfile.is_zipfile(source) else "torch.save did not write it"
        reason = f"it asks for {found[1]}" if found else other
        raise CheckpointError(
            f"{source}: refused, because it holds more than weights and plain values ({reason}); nothing in it was "
            "run. Take the file from a source you trust"
        ) from error
    except Exception as error:  # a damaged file can raise nearly anything
        raise _damaged(source, error, if_damaged) from error
    return content


def _check_sums(path: Path) -> None:
    """Compare every part of a zip file with its checksum; torch skips this for the weights.

    Raises:
        zipfile.BadZipFile: If a checksum is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        if (part := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {part} is wrong")


def _damaged(source: Path, error: Exception, advice: str) -> CheckpointError:
    reason = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
    return CheckpointError(f"{source}: damaged or half-written, {source.stat().st_size:,} bytes ({reason}); {advice}")
