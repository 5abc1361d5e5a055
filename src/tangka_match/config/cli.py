"""Runs an entry point under Hydra, and turns every mistake of a user into one message and exit code 2."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from tangka_match.config.explain import explain
from tangka_match.config.location import conf_dir
from tangka_match.errors import TangkaMatchError

USER_ERROR, INTERRUPTED = 2, 128 + signal.SIGINT


def run_cli(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the config from the command line, call ``task`` with it, and exit.

    Exit codes: 0 done, 1 a fault of ours, 2 a user's mistake, 130 Ctrl-C, 143 SIGTERM. ``-v`` or ``debug=true`` shows
    the traceback of a user's mistake too.

    Args:
        task: Takes the composed config.
        config_name: Of the primary config in ``conf/``, without ``.yaml``.
    """
    verbose = any(word in ("-v", "--verbose", "debug=true") for word in sys.argv[1:])
    sys.argv = [word for word in sys.argv if word not in ("-v", "--verbose")]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    try:
        hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config_name)(task)()
    except (TangkaMatchError, HydraException, OmegaConfBaseException) as error:
        if verbose:
            raise
        sys.exit(_report(error, config_name))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _report(error: Exception, config_name: str) -> int:
    message = str(error) if isinstance(error, TangkaMatchError) else explain(error, config_name)
    print(
        f"{type(error).__name__ if isinstance(error, TangkaMatchError) else 'ConfigError'}: {message}", file=sys.stderr
    )
    return USER_ERROR
