"""Overrides that Hydra refuses with a bare Python error, or with the wrong one."""

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
import omegaconf
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from tangka_match.config.conf_folder import group_options
from tangka_match.errors import ConfigError

PACKAGES = tuple(f"{package.__path__[0]}{os.sep}" for package in (hydra, omegaconf))
BARE_ERRORS = (AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What Hydra and OmegaConf raise where an override does not fit the config that it is applied to."""


def check_choices(folder: Path, words: Sequence[str]) -> None:
    """Check that what is chosen from a group is the name of a file: not ``loss=null``, ``data=true`` or ``~data=[]``.

    Args:
        folder: Path of ``conf/``.
        words: Arguments of the command line.

    Raises:
        ConfigError: If something else is chosen; the message lists the files.
    """
    groups = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_dir()}
    for word in words:
        group = word.lstrip("+~").partition("=")[0].partition("@")[0]
        if word.startswith("-") or "=" not in word or group not in groups:
            continue
        try:
            (override,) = OverridesParser.create().parse_overrides([word])
        except HydraException:
            continue  # Hydra says what is wrong
        if not _is_choice(override):
            raise ConfigError(
                f"{word}: choose a file of conf/{group} by its name: {', '.join(group_options(folder / group))}"
            )


@contextmanager
def composing_explained(words: Sequence[str], is_over: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Turn the bare errors of Hydra and OmegaConf about overrides into a `ConfigError`; others pass unchanged.

    Args:
        words: Arguments of the command line.
        is_over: Whether the config was composed, and what follows raised the error.

    Raises:
        ConfigError: If the overrides cannot be applied.
    """
    try:
        yield
    except BARE_ERRORS as error:
        place = traceback.extract_tb(error.__traceback__)[-1].filename
        if is_over() or not (place.startswith(PACKAGES) or isinstance(error, RecursionError)):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{' '.join(words)[:500]}: these settings do not fit the config that they are applied to ({reason}); see "
            "it with --cfg job, and change only what it holds"
        ) from error


def _is_choice(override: Override) -> bool:
    if override.is_sweep_override():
        return True
    chosen = override.value()
    names = chosen if isinstance(chosen, list) and not override.is_delete() else [chosen]
    return all(isinstance(name, str) for name in names)
