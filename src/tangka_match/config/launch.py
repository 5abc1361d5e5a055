"""From a composed config to a finished run: check, build, train, draw."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from yaml import YAMLError

from tangka_match.analysis.curves import draw_curves
from tangka_match.config.build import build_plan
from tangka_match.config.check import GROUPS
from tangka_match.errors import ConfigError
from tangka_match.training.lightning_facts import is_main_process
from tangka_match.training.records.ledger import read_ledger
from tangka_match.training.records.run_folder import RunFolder, find_run
from tangka_match.training.runner import RunResult, train

MAY_HAVE_MOVED = ("paths.runs", "paths.checkpoints", "paths.data", "data.root")
ALLOWED_WITH_RESUME = ("resume", *MAY_HAVE_MOVED, "debug")
PATHS = (*MAY_HAVE_MOVED, "data.vocabulary_path", "data.tokenizer.user_dictionaries")


def launch(config: DictConfig) -> RunResult:
    """Train what ``config`` says, or go on with the run that ``config.resume`` names.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    OmegaConf.set_struct(config, False)
    resume = config.pop("resume")
    if resume is None:
        _make_absolute(config)
        result = train(build_plan(config, HydraConfig.get().overrides.task))
    else:
        folder, saved = _stopped_run(config, str(resume))
        result = train(build_plan(saved), resume=folder)
    if is_main_process():
        draw_curves(read_ledger(result.folder.ledger), result.folder.path / "curves.png")
    return result


def _stopped_run(config: DictConfig, run_id: str) -> tuple[RunFolder, DictConfig]:
    """Find a run and its own config; only where things lie may differ from it."""
    overrides = HydraConfig.get().overrides.task
    given = [override.lstrip("+").partition("=")[0] for override in overrides]
    refused = [override for override, name in zip(overrides, given, strict=True) if name not in ALLOWED_WITH_RESUME]
    if refused:
        raise ConfigError(
            f"resume={run_id} goes on with the run's own settings, but the command also gives {' '.join(refused)}: "
            f"leave that out ({', '.join(ALLOWED_WITH_RESUME[1:])} may be given), or start a new run"
        )
    path = find_run(Path(config.paths.runs), run_id)
    saved = _load(path / "config.yaml")
    in_data, root = Path(saved.paths.data), Path(saved.data.root)
    if "paths.data" in given and root.is_relative_to(in_data):  # a set that lies there has moved with it
        saved.data.root = str(Path(config.paths.data) / root.relative_to(in_data))
    for name in set(given) & set(MAY_HAVE_MOVED):
        OmegaConf.update(saved, name, OmegaConf.select(config, name))
    _make_absolute(saved)
    return RunFolder(path.name, path, Path(saved.paths.checkpoints) / saved.name / path.name), saved


def _make_absolute(config: DictConfig) -> None:
    """Write every path as it is from here: the run may be resumed from another folder."""
    for name in PATHS:
        value = OmegaConf.select(config, name)
        if isinstance(value, str):
            OmegaConf.update(config, name, str(Path(value).absolute()))
        elif isinstance(value, ListConfig):
            OmegaConf.update(config, name, [str(Path(str(item)).absolute()) for item in value])


def _load(path: Path) -> DictConfig:
    """The config that a run wrote."""
    try:
        saved = OmegaConf.load(path)
    except (OSError, YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error}); put it right, or start a new run") from error
    missing = [name for name in GROUPS if name not in saved]
    if not isinstance(saved, DictConfig) or missing:
        raise ConfigError(f"{path}: not the config of a run, it lacks {', '.join(missing)}; start a new run")
    return saved
