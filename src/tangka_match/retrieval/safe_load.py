"""Load files written by ``torch.save`` without executing anything in them."""

import argparse
import pickle
import pickletools
import re
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch._weights_only_unpickler import _get_allowed_globals

from tangka_match.errors import CheckpointError

COPY_AGAIN = "copy or download it again"
_OPTIONS = "argparse.Namespace"
_LEGACY_PICKLES = 5
"""Pickles at the start of a file of torch before 1.6: magic number, version, system, content, keys of the tensors."""


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

    Their classes are neither imported nor called, and their contents are dropped. ``argparse.Namespace``, the options
    of most training scripts, is kept. Files that name parts of ``os``, ``posix``, ``nt`` or ``sys`` are still
    refused, because no legitimate checkpoint does. Files of torch 0.1.11 to 1.5 are read as well, also those of
    Python 2.

    Args:
        source: File written by ``torch.save``.

    Returns:
        The content, and the sorted names of the replaced classes and functions.

    Raises:
        CheckpointError: If the file is missing, damaged, or names parts of the operating system.
    """
    _check_is_file(source)
    names: set[str] = set()
    try:
        if zipfile.is_zipfile(source):  # the format of every torch since 1.6
            names = set(torch.serialization.get_unsafe_globals_in_checkpoint(str(source)))
        elif _is_legacy(source):
            names = _legacy_names(source) - set(_get_allowed_globals())
    except Exception as error:  # a damaged file can raise nearly anything
        raise _damaged(source, error, COPY_AGAIN) from error
    replaced = sorted(names - {_OPTIONS})
    stand_ins = [(_CONTAINERS.get(name, StandIn), name) for name in replaced]
    return _load(source, [*stand_ins, argparse.Namespace], COPY_AGAIN), replaced


def _legacy_names(source: Path) -> set[str]:
    """Return the classes and functions that a file of torch before 1.6 names, without resolving them."""
    names: set[str] = set()
    with source.open("rb") as file:
        for _ in range(_LEGACY_PICKLES):
            found = [str(argument) for code, argument, _ in pickletools.genops(file) if code.name == "GLOBAL"]
            names |= {name.replace(" ", ".", 1) for name in found}
    return names


def _plain_dict(*_: object) -> dict[Any, Any]:
    """Create an empty dictionary, whatever arguments the file passes."""
    return {}


_CONTAINERS: dict[str, Callable[..., Any]] = {"collections.defaultdict": _plain_dict}
"""Replacements that items are assigned to, which the unpickler allows for plain containers only."""


def _load(source: Path, allowed: list[Any], if_damaged: str) -> Any:
    _check_is_file(source)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore", UserWarning)  # about a pickle protocol that is refused anyway
            content = _torch_load(source)
        if zipfile.is_zipfile(source):
            _check_sums(source)
    except pickle.UnpicklingError as error:
        # torch's own message is not shown: it explains how to execute the functions that the file names.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        is_ours = zipfile.is_zipfile(source) or _is_legacy(source)
        other = "objects that only a call could make" if is_ours else "torch.save did not write it"
        reason = f"it asks for {found[1]}" if found else other
        raise CheckpointError(
            f"{source}: refused, because it holds more than weights and plain values ({reason}); nothing in it was "
            "run. Take the file from a source you trust"
        ) from error
    except Exception as error:  # a damaged file can raise nearly anything
        raise _damaged(source, error, if_damaged) from error
    return content


def _check_is_file(source: Path) -> None:
    if not source.is_file():
        raise CheckpointError(f"{source}: no such checkpoint file; check the path")
    if tarfile.is_tarfile(source):
        raise CheckpointError(
            f"{source}: a tar archive, not a file of torch.save (whose names often end in .pth.tar, but are no "
            "archives); unpack it, and give the checkpoint in it"
        )


def _torch_load(source: Path) -> Any:
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except UnicodeDecodeError:  # bytes in a file of Python 2; names of weights are ASCII
        return torch.load(source, map_location="cpu", weights_only=True, encoding="latin1")


def _is_legacy(source: Path) -> bool:
    """Whether the file starts like those of torch before 1.6: with a pickle of nothing but a long number."""
    with source.open("rb") as file:
        return file.read(4) == b"\x80\x02\x8a\n"


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
