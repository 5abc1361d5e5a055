"""Launches a run: from a composed config, or from the folder of a stopped run, to its result."""

import os
import shlex
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from yaml import YAMLError

from tangka_match.config.build import build_plan
from tangka_match.config.check import GROUPS
from tangka_match.config.saved_targets import ARGUMENTS, TARGET, check_saved_targets
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.records.run_files import LAST
from tangka_match.records.run_folder import RunFolder, find_run
from tangka_match.records.saved_files import read_mapping
from tangka_match.records.schema import CONFIG
from tangka_match.records.setting_names import ADDED_SETTINGS, COMMAND_KEYS
from tangka_match.training.distributed import is_main_process, processes_started
from tangka_match.training.process_state import environment_variable
from tangka_match.training.result import RunResult
from tangka_match.training.runner import train

MOVABLE = ("paths.runs", "paths.checkpoints", "paths.data", "data.root", "data.mix")
RESUMED_RUN_VARIABLE = "TANGKA_MATCH_RESUMED_RUN"
"""Environment variable with the id that ``resume=last`` meant, for the processes that Lightning starts afterwards."""
LENGTH = ("trainer.max_epochs", "trainer.max_steps")
"""Settings with which a run goes on longer than planned, as a new run."""
ALLOWED_WITH_RESUME = ("resume", *MOVABLE, *LENGTH, "debug")
PATHS = (
    "paths.runs",
    "paths.checkpoints",
    "paths.data",
    "init_from",
    "distillation.teachers",
    "data.vocabulary_path",
    "data.word_vectors_path",
    "data.exclude",
    "data.tokenizer.user_dictionaries",
)
FOLDERS_OR_NAMES = ("model.text_model", "distillation.text_model", "data.tokenizer.source")
"""Settings that hold a folder or a name on the Hugging Face hub; only folders become absolute."""


def launch(config: DictConfig) -> RunResult:
    """Train the run of a config, or continue the run that ``config.resume`` names; with another length, as a new run.

    Args:
        config: Config as composed by Hydra.

    Raises:
        TangkaMatchError: On invalid user input, or if the run cannot continue.
    """
    OmegaConf.set_struct(config, False)
    resume, *_ = (config.pop(name) for name in COMMAND_KEYS)
    if resume is None:
        keep_absolute_paths(config)
        return train(build_plan(config, HydraConfig.get().overrides.task))
    folder, saved = _find_stopped_run(config, str(resume))
    given = {name: OmegaConf.select(config, name) for name in _given_settings() if name in LENGTH}
    changed = {name: value for name, value in given.items() if value != OmegaConf.select(saved, name)}
    if not changed:
        with environment_variable(RESUMED_RUN_VARIABLE, folder.run_id):
            return train(build_plan(saved), folder)
    if resume == LAST and processes_started() > 1:
        raise ConfigError(
            f"resume=last with {processes_started()} processes that were started together: one may take the new run "
            f"for the last one; write resume={folder.run_id}"
        )
    for name, value in changed.items():
        OmegaConf.update(saved, name, value)
    with environment_variable(RESUMED_RUN_VARIABLE, folder.run_id):
        return train(build_plan(saved, [f"{name}={value}" for name, value in changed.items()]), parent=folder)


def _find_stopped_run(config: DictConfig, run_id: str) -> tuple[RunFolder, DictConfig]:
    """Find a run and its saved config, in which only folders may be changed."""
    overrides, given = HydraConfig.get().overrides.task, _given_settings()
    again = [name for name in given if name.rpartition(".")[2] in (TARGET, ARGUMENTS)]
    allowed = (*ALLOWED_WITH_RESUME, *again)
    refused = [override for override, name in zip(overrides, given, strict=True) if name not in allowed]
    if refused:
        raise ConfigError(
            f"resume={run_id} continues a run with its own settings, but the command also sets {' '.join(refused)}: "
            f"remove that (allowed: {', '.join(ALLOWED_WITH_RESUME[1:])}), or start a new run (init_from= takes the "
            "weights)"
        )
    runs = Path(config.paths.runs).absolute()
    given_id = None if is_main_process() else os.environ.get(RESUMED_RUN_VARIABLE)
    path = find_run(runs, given_id or run_id)
    saved = _load(path / "config.yaml")
    repeated = {name: OmegaConf.select(config, name) for name in again}
    _check_repeated(run_id, saved, repeated)
    check_saved_targets(str(path / "config.yaml"), saved, repeated, shlex.join(overrides))
    in_data = Path(saved.paths.data)
    for data_set in _data_sets(saved) if "paths.data" in given else []:
        if Path(data_set.root).is_relative_to(in_data):  # moved together with paths.data
            data_set.root = str(Path(config.paths.data) / Path(data_set.root).relative_to(in_data))
    for name in set(given) & set(MOVABLE):
        OmegaConf.update(saved, name, OmegaConf.select(config, name))
    keep_absolute_paths(saved)
    return RunFolder(path.name, path, Path(saved.paths.checkpoints) / saved.name / path.name), saved


def _check_repeated(run_id: str, saved: DictConfig, repeated: dict[str, object]) -> None:
    """Refuse a class on the command line that the run does not have: a resumed run keeps its own settings."""
    for name, value in repeated.items():
        if (found := OmegaConf.select(saved, name)) != value:
            raise ConfigError(
                f"resume={run_id} continues a run with its own settings: there {name} is {found!r}, not {value!r}; "
                "repeat its value, or start a new run"
            )


def _given_settings() -> list[str]:
    """Return the names of the settings on the command line."""
    return [override.lstrip("+").partition("=")[0] for override in HydraConfig.get().overrides.task]


def keep_absolute_paths(config: DictConfig) -> None:
    """Make all paths absolute, in place, because a run may be resumed from another working directory."""
    for name in (*PATHS, *FOLDERS_OR_NAMES):
        value = OmegaConf.select(config, name)
        if name in FOLDERS_OR_NAMES and not (isinstance(value, str) and Path(value).is_dir()):
            continue
        if isinstance(value, str):
            OmegaConf.update(config, name, str(Path(value).absolute()))
        elif isinstance(value, ListConfig):
            OmegaConf.update(config, name, [str(Path(str(item)).absolute()) for item in value])
    for data_set in _data_sets(config):
        data_set.root = str(Path(data_set.root).absolute())


def _data_sets(config: DictConfig) -> list[DictConfig]:
    """Return the nodes with the ``root`` of a data set: ``data``, and the entries of ``data.mix``."""
    mix = OmegaConf.select(config, "data.mix")
    named = [OmegaConf.select(config, "data"), *(mix if isinstance(mix, ListConfig) else [])]
    return [node for node in named if isinstance(node, DictConfig) and isinstance(node.get("root"), str)]


def _load(path: Path) -> DictConfig:
    """Load the config of a run; settings that were added after it was saved get their defaults."""
    try:
        read_mapping(path, CONFIG)  # in bounded time and memory, which OmegaConf does not promise
        saved = OmegaConf.load(path)
    except DataFormatError as error:
        what = "cannot be read as YAML" if isinstance(error.__cause__, YAMLError) else "not the config of a run"
        raise ConfigError(f"{path}: {what} ({error}); correct it, or start a new run") from error
    except (OSError, YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error}); correct it, or start a new run") from error
    required = [name for name in GROUPS if name not in ADDED_SETTINGS]
    missing = [name for name in required if name not in saved]
    if not isinstance(saved, DictConfig) or missing:
        raise ConfigError(f"{path}: not the config of a run, it lacks {', '.join(missing)}; start a new run")
    for name, default in ADDED_SETTINGS.items():
        group, _, key = name.rpartition(".")
        if key not in (saved[group] if group else saved):
            OmegaConf.update(saved, name, default)
    return saved
