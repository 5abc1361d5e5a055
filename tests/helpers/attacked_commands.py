"""Run commands up to the point where their real work would begin, and tell clean ends from unexpected exceptions."""

import contextlib
import copy
import io
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from unittest import mock

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from tangka_match.__main__ import COMMANDS
from tangka_match.cli import quote_as_typed
from tangka_match.config.chosen_files import check_chosen_files
from tangka_match.config.composing import check_choices, composing_explained
from tangka_match.config.conf_folder import conf_dir, group_options, known_keys
from tangka_match.config.explain import explain
from tangka_match.errors import TangkaMatchError, disk_errors_explained

ACTIONS = {"runs": "list_runs", "demo_data": "write_demo_data", "dashboard": "build_dashboard"}
"""Names of the actions that differ from those of their commands."""
WORK = (
    "tangka_match.config.launch.train",
    "tangka_match.sweeps.dispatch._run_recipes",
    "tangka_match.demo.writer.DemoWriter.ensure",
    "tangka_match.serving.address.open_socket",
    "tangka_match.models.chinese_clip.VisionTower",
    "tangka_match.sweeps.learning_curve.train_learning_curve",
    "tangka_match.analysis.dashboard.push_dashboard",
)
"""Functions with which the work begins."""
READ = FileConfigSource.load_config
_FILES: dict[str, ConfigResult] = {}
CLEAN = (TangkaMatchError, HydraException, OmegaConfBaseException)


class WorkBegins(Exception):  # noqa: N818 - not an error
    """The settings were accepted."""


def config_name(command: str) -> str:
    """Return the name of the primary config of a command."""
    return "config" if command == "train" else command


def settings_of(command: str) -> list[str]:
    """Return the names of the settings and groups of a command."""
    folder = Path(conf_dir())
    config = _compose(command, [])
    names = {name for name in known_keys(folder, config_name(command)) if name.split(".")[0] in config}
    return sorted(names | set(config))


def options_of(command: str) -> list[str]:
    """Return the choices of the groups of a command, such as ``loss=hal``."""
    folder = Path(conf_dir())
    groups = [name for name in _compose(command, []) if (folder / str(name)).is_dir()]
    chosen = [f"{group}={option}" for group in groups for option in group_options(folder / str(group))]
    experiments = [f"+experiment={name}" for name in group_options(folder / "experiment")]
    return chosen + (experiments if command == "train" else [])


def attack(command: str, overrides: Sequence[str], folder: Path) -> BaseException | None:
    """Return the exception of a command that is not a clean error; ``None`` if it ended well.

    Args:
        command: Name of the command.
        overrides: Arguments of the command line.
        folder: Working directory.
    """
    with _quiet(), contextlib.chdir(folder), _without_work():
        try:
            words = [quote_as_typed(word) for word in overrides]
            check_chosen_files(Path(conf_dir()), list(overrides))
            check_choices(Path(conf_dir()), words)
            with composing_explained(overrides):
                config = _compose(command, words)
            module = import_module(f"tangka_match.{command}")
            with disk_errors_explained(command, "advice"):
                getattr(module, ACTIONS.get(command, command))(config)
        except WorkBegins:
            return None
        except CLEAN as error:
            if isinstance(error, InstantiationException):  # wraps any exception
                return error
            try:
                explain(error, config_name(command))
            except Exception as failed:
                return failed
            return None
        except (Exception, SystemExit) as error:
            return error
        return None


def _read_once(source: FileConfigSource, path: str) -> ConfigResult:
    """Read a file of ``conf/`` only once: parsing takes most of the time of composing."""
    if path not in _FILES:
        _FILES[path] = READ(source, path)
    return copy.deepcopy(_FILES[path])


def _compose(command: str, overrides: Sequence[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with (
        initialize_config_dir(version_base="1.3", config_dir=conf_dir()),
        mock.patch.object(FileConfigSource, "load_config", _read_once),
    ):
        config = compose(config_name(command), overrides=list(overrides), return_hydra_config=True)
    with open_dict(config):
        config.hydra.job.num = 0
        config.hydra.runtime.output_dir = "."
    HydraConfig.instance().set_config(config)
    task = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    OmegaConf.set_struct(task, True)
    return task


@contextlib.contextmanager
def _without_work() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name in WORK:
            module = name.rpartition(".")[0]
            if module.rpartition(".")[2][0].isupper():  # a method
                import_module(module.rpartition(".")[0])
            stack.enter_context(mock.patch(name, side_effect=WorkBegins))
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "argv", ["command"]),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


__all__ = ["COMMANDS", "attack", "options_of", "settings_of"]
