"""Runs an entry point under Hydra, and turns every mistake of a user into one message and exit code 2."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from tangka_match.config.explain import explain
from tangka_match.config.location import conf_dir
from tangka_match.errors import DISK_FULL, ConfigError, TangkaMatchError, TrainingError

USER_ERROR, INTERRUPTED = 2, 128 + signal.SIGINT
USER_ERRORS = (TangkaMatchError, HydraException, OmegaConfBaseException)

SEVERAL = re.compile(r"[\[{]|\w+\(|[^,]*,")  # a list, a dict, a function of Hydra's, or the values of a sweep
ONE = re.compile(r"[^\s,\[\]{}():](?:[^,\[\]{}():]*[^\s,\[\]{}():])?")


def quote_letters(word: str) -> str:
    """Put quotes around the values of an override that hold other letters than ASCII, which Hydra takes in quotes only.

    What is quoted already stays as it is.

    >>> quote_letters("data.root=/数据/唐卡 (1)"), quote_letters("tags=[唐卡 一,first]"), quote_letters("seed=0,1")
    ("data.root='/数据/唐卡 (1)'", "tags=['唐卡 一',first]", 'seed=0,1')
    """
    name, equals, value = word.partition("=")
    if word.startswith("-") or not equals or value.isascii() or "'" in value or '"' in value:
        return word
    if SEVERAL.match(value):
        quoted = ONE.sub(lambda found: found[0] if found[0].isascii() else f"'{found[0]}'", value)
    else:
        quoted = f"'{value}'"
    return f"{name}={quoted}"


def run_cli(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the config from the command line, call ``task`` with it, and exit.

    Exit codes: 0 done, 1 a fault of ours, 2 a user's mistake, 130 Ctrl-C, 143 SIGTERM. ``-v`` or ``debug=true`` shows
    the traceback of a user's mistake too.

    Args:
        task: Takes the composed config.
        config_name: Of the primary config in ``conf/``, without ``.yaml``.
    """
    verbose = any(word in ("-v", "--verbose", "debug=true") for word in sys.argv[1:])
    words = [word for word in sys.argv[1:] if word not in ("-v", "--verbose")]
    sys.argv = [sys.argv[0], *map(quote_letters, words)]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    failures: list[Exception] = []

    def guarded(config: DictConfig) -> Any:
        # Caught inside the task: Hydra announces what leaves it in words of its own, and ends a multirun there.
        try:
            with _full_disk_explained():
                return task(config)
        except USER_ERRORS as error:
            if verbose:
                raise
            failures.append(error)
            _print(error, config_name)
        return None

    try:
        hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config_name)(guarded)()
    except USER_ERRORS as error:
        if verbose:
            raise
        _print(error, config_name)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if failures:
        sys.exit(USER_ERROR)


@contextmanager
def _full_disk_explained() -> Iterator[None]:
    """Turn the system's error for a full disk into one of ours; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        if isinstance(error.__context__, TangkaMatchError):  # which then could not be noted in the ledger
            raise error.__context__ from None
        raise TrainingError(
            f"{error.filename or 'paths.runs'}: {error.strerror}; free space there or move the folder, then go on with "
            "resume=<run id>"
        ) from error


def _print(error: Exception, config_name: str) -> None:
    title = type(error).__name__ if isinstance(error, TangkaMatchError) else ConfigError.__name__
    print(f"{title}: {explain(error, config_name)}", file=sys.stderr)
