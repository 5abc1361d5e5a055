"""Shared parts of all commands: run under Hydra, read settings, report errors, set the exit code.

A command is one module at the top of the package: settings, action, output, and ``main = command("<name>", <action>)``.
Importing this module imports neither torch nor pydantic, so that ``--help`` and ``--cfg job`` answer at once.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from tangka_match.config.chosen_files import check_chosen_files
from tangka_match.config.composing import check_choices, composing_explained
from tangka_match.config.conf_folder import conf_dir
from tangka_match.config.explain import describe_fault, explain, nearest, raise_faults
from tangka_match.config.hydra_options import check_folders, checked_words
from tangka_match.config.quoting import quote_as_typed, quote_verbatim
from tangka_match.errors import ConfigError, TangkaMatchError, disk_errors_explained
from tangka_match.terminal import lasting_output

if TYPE_CHECKING:
    from tangka_match.data.split import Split
    from tangka_match.settings import Settings

USER_ERROR, INTERRUPTED = 2, 128 + signal.SIGINT
USER_ERRORS = (TangkaMatchError, HydraException, OmegaConfBaseException, YAMLError)
OUTPUT_ADVICE = "free space there, or set out to a place on another disk that you may write to, and repeat the command"
"""What to do about a file that cannot be written, for commands with the setting ``out``."""

SettingsT = TypeVar("SettingsT", bound="Settings")


def command(
    name: str,
    action: Callable[[DictConfig], Any],
    config_name: str | None = None,
    verbatim: Sequence[str] = (),
    disk_advice: str = OUTPUT_ADVICE,
) -> Callable[[], None]:
    """Make the ``main`` of a command.

    Args:
        name: Name of the command's module.
        action: Function that runs the command with the composed config.
        config_name: Name of the primary config in ``conf/``, without ``.yaml``; ``None`` stands for ``name``.
        verbatim: Settings whose values are plain text, without the syntax of Hydra.
        disk_advice: What to do if a file cannot be written.
    """

    def main() -> None:
        with lasting_output():
            run_cli(action, name, config_name or name, verbatim, disk_advice)

    return main


def run_cli(
    action: Callable[[DictConfig], Any],
    name: str,
    config_name: str,
    verbatim: Sequence[str] = (),
    disk_advice: str = OUTPUT_ADVICE,
) -> None:
    """Compose the config from the command line, run ``action`` with it, and exit.

    Exit codes: 0 success, 1 internal error, 2 user error, 130 Ctrl-C, 143 SIGTERM. A user error prints one message;
    ``-v`` or ``debug=true`` shows its traceback.

    Args:
        action: Function that runs the command with the composed config.
        name: Name of the command's module, for ``--help``.
        config_name: Name of the primary config in ``conf/``, without ``.yaml``.
        verbatim: Settings whose values are plain text, without the syntax of Hydra.
        disk_advice: What to do if a file cannot be written.
    """
    is_verbose = any(word in ("-v", "--verbose", "debug=true") for word in sys.argv[1:])
    words = [word for word in sys.argv[1:] if word not in ("-v", "--verbose")]
    plain = tuple(f"{setting}=" for setting in verbatim)
    quoted = [quote_verbatim(word) if word.startswith(plain) else quote_as_typed(word) for word in words]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    failures: list[Exception] = []
    began = False

    def guarded(config: DictConfig) -> Any:
        nonlocal began
        began = True
        # Errors are caught here because Hydra would print its own message and end a multirun.
        try:
            check_folders(HydraConfig.instance().cfg.hydra)  # type: ignore[union-attr]
            with disk_errors_explained(name, disk_advice):
                return action(config)
        except USER_ERRORS as error:
            if is_verbose:
                raise
            failures.append(error)
            _print_error(error, config_name)
        return None

    guarded.__module__ = f"{__package__}.{name}"  # Hydra names the program after it
    try:
        sys.argv = [sys.argv[0], *checked_words(quoted)]
        check_chosen_files(Path(conf_dir()), words)
        check_choices(Path(conf_dir()), quoted)
        with composing_explained(words, lambda: began):
            hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config_name)(guarded)()
    except USER_ERRORS as error:
        if is_verbose:
            raise
        _print_error(error, config_name)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    if failures:
        sys.exit(USER_ERROR)


def read_settings(
    config: DictConfig, kind: type[SettingsT], groups: Sequence[str] = ("data", "paths", "debug")
) -> SettingsT:
    """Check the settings of a command and return them typed.

    Args:
        config: Composed config.
        kind: Settings class of the command.
        groups: Further top-level names that the config may hold.

    Raises:
        ConfigError: If settings are unknown, missing or out of range; the message lists all of them.
    """
    from pydantic import ValidationError

    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    known = [*kind.model_fields, *groups]
    faults = [f"{name}: there is no such setting.{nearest(name, known)}" for name in plain if name not in known]
    # An empty path would mean the current folder, and an empty run id would match every run.
    faults += [
        f"{name} is empty: write {name}=<value>, or leave it out"
        for name in kind.model_fields
        if plain.get(name) == "" or (isinstance(plain.get(name), list) and "" in plain[name])
    ]
    faults += _group_faults(plain, groups)
    settings = None
    try:
        settings = kind.model_validate({name: plain[name] for name in kind.model_fields if name in plain})
    except ValidationError as error:
        faults += [describe_fault(item, kind) for item in error.errors()]
    raise_faults(faults)
    assert settings is not None
    return settings


def _group_faults(plain: dict[str, Any], groups: Sequence[str]) -> list[str]:
    """Check the groups whose settings commands use one by one."""
    faults = [
        f"{name}={plain[name]!r}: it must hold settings; choose one of conf/{name} with {name}=<name>"
        for name in groups
        if name in plain and name != "debug" and not isinstance(plain[name], dict)
    ]
    if faults:
        return faults
    data, paths = plain.get("data", {}), plain.get("paths", {})
    if data.get("root") == "":
        faults.append("data.root is empty: write data.root=<folder of the data set>")
    texts = {f"data.{name}": data.get(name) for name in ("root", "exclude")}
    texts |= {f"paths.{name}": value for name, value in paths.items()}
    faults += [f"{name}={value!r} must be text" for name, value in texts.items() if not isinstance(value, str | None)]
    size = data.get("eval_batch_size", 1)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        faults.append(f"data.eval_batch_size={size!r} must be an integer >= 1")
    counts = data.get("expected_counts") or {}
    if not isinstance(counts, dict) or not all(isinstance(pair, list) and len(pair) == 2 for pair in counts.values()):
        faults.append(f"data.expected_counts={counts!r} must hold the numbers of images and captions of each split")
    return faults


def usable_device(device: str) -> str:
    """Return ``device`` if torch can compute on it, and for ``"auto"`` the GPU, if there is one; a pydantic validator.

    Raises:
        ValueError: If this machine has no such device.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{device!r} is not available here; use auto, cpu, or cuda on a machine with a GPU") from error
    return device


def allow_no_data(data: DictConfig) -> None:
    """Set ``data.root`` to null if it is not set, for commands that can do without a data set."""
    if OmegaConf.is_missing(data, "root"):
        data.root = None


def write_missing_data(data: DictConfig) -> None:
    """Write the demo set to ``data.root`` if ``data`` has a writer and the folder is empty or missing."""
    if data.get("writer") is not None:
        from tangka_match.config.build import build_writer

        build_writer(data).ensure(Path(data.root))


def open_split(data: DictConfig, name: str, *, check_features: bool = True) -> "Split":
    """Open a split of ``data.root`` and compare its counts with ``data.expected_counts``.

    Raises:
        ConfigError: If ``data.folds`` is set, which only ``train`` supports.
        DataFormatError: If the split is missing or damaged, or its counts differ.
    """
    from tangka_match.data.split import load_split

    if data.get("folds") is not None:
        raise ConfigError(
            f"data.folds={data.folds}: only train holds out folds, and writes their metrics and ranks to the run "
            "folder; remove data.folds to use a whole split"
        )
    expected = (data.get("expected_counts") or {}).get(name, (None, None))
    return load_split(data.root, name, *expected, check_features=check_features)


def check_is_new(path: Path) -> None:
    """Refuse to overwrite a file.

    Raises:
        ConfigError: If ``path`` exists.
    """
    if path.exists():
        raise ConfigError(f"out: {path} already exists and is not overwritten; set out to another path")


def say(line: str, style: str | None = None) -> None:
    """Print one line to the terminal without wrapping or markup."""
    import rich

    rich.get_console().print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _print_error(error: Exception, config_name: str) -> None:
    title = type(error).__name__ if isinstance(error, TangkaMatchError) else ConfigError.__name__
    print(f"{title}: {explain(error, config_name)}", file=sys.stderr)
