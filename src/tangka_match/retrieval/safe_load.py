"""Read files that ``torch.save`` wrote without executing anything in them."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tangka_match.errors import CheckpointError


class StandIn:
    """Takes the place of a class or function that a file names: takes whatever it is given, and does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __new__(cls, *_: object) -> "StandIn":
        """Make an empty one, whatever arguments the file has for the class."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        pass


def load_weights(source: Path, allowed: Sequence[Callable[..., Any]] = ()) -> Any:
    """Load a file by torch's restricted unpickler: tensors, plain values, and what is allowed.

    Args:
        source: Written by ``torch.save``.
        allowed: Classes that may be built.

    Raises:
        CheckpointError: If the file is missing, damaged, or names anything else; nothing of it has been run then.
    """
    return _load(source, list(allowed))


def load_with_stand_ins(source: Path) -> tuple[Any, list[str]]:
    """Load a file that also holds pickled objects of other programmes, with a `StandIn` for each of them.

    Their classes are neither imported nor called, and their contents are dropped. Still refused are files that name
    parts of ``os``, ``posix``, ``nt`` or ``sys``: no honest checkpoint does.

    Args:
        source: Written by ``torch.save``.

    Returns:
        The content, and the names that were replaced, sorted.

    Raises:
        CheckpointError: As ``load_weights``.
    """
    names: list[str] = []
    if zipfile.is_zipfile(source):  # as every torch since 1.6 writes it
        try:
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(source)))
        except Exception as error:  # a damaged file can raise nearly anything
            raise _damaged(source, error) from error
    return _load(source, [(StandIn, name) for name in names]), names


def check_sums(path: Path) -> None:
    """Compare every part of a zip file with its checksum; torch does not look at those of the weights.

    Raises:
        zipfile.BadZipFile: If one is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        if (part := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"the checksum of {part} is wrong")


def _load(source: Path, allowed: list[Any]) -> Any:
    if not source.is_file():
        raise CheckpointError(f"{source}: no such file; give the path of a checkpoint")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore", UserWarning)  # of a pickle protocol that is refused anyway
            content = torch.load(source, map_location="cpu", weights_only=True)
        if zipfile.is_zipfile(source):
            check_sums(source)
    except pickle.UnpicklingError as error:
        # Not torch's own words: they go on to explain how to run what the file says.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        other = "objects that only a call could make" if zipfile.is_zipfile(source) else "torch.save did not write it"
        reason = f"it asks for {found[1]}" if found else other
        raise CheckpointError(
            f"{source}: refused, because it holds more than weights and plain values ({reason}); nothing in it was "
            "run. Take the file from somebody you trust"
        ) from error
    except Exception as error:  # a damaged file can raise nearly anything
        raise _damaged(source, error) from error
    return content


def _damaged(source: Path, error: Exception) -> CheckpointError:
    reason = f"{type(error).__name__}: {str(error).splitlines()[0]}" if str(error) else type(error).__name__
    return CheckpointError(
        f"{source}: damaged or half-written, {source.stat().st_size:,} bytes ({reason}); copy or download it again"
    )
