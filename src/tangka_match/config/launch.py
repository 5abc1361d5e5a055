"""From a composed config to a finished run: check, build, train, draw."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from tangka_match.analysis.curves import draw_curves
from tangka_match.config.build import build_plan
from tangka_match.config.check import GROUPS
from tangka_match.errors import ConfigError
from tangka_match.training.lightning_facts import is_main_process
from tangka_match.training.records.ledger import read_ledger
from tangka_match.training.records.run_folder import RunFolder, find_run
from tangka_match.training.runner import RunResult, train

OF_SWEEPS = ("sweep", "seeds")
ALLOWED_WITH_RESUME = ("resume", "paths.", "data.root", "debug")


def launch(config: DictConfig) -> RunResult:
    """Train what ``config`` says, or go on with the run that ``config.resume`` names.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    OmegaConf.set_struct(config, False)
    resume = config.pop("resume")
    for name in OF_SWEEPS:
        config.pop(name)
    if resume is None:
        keep_absolute_paths(config)
        result = train(build_plan(config))
    else:
        folder, saved = _stopped_run(config, str(resume))
        result = train(build_plan(saved), resume=folder)
    draw(result.folder)
    return result


def keep_absolute_paths(config: DictConfig) -> None:
    """Make ``config.paths`` absolute, in place: the run may be resumed from another folder."""
    for name, path in config.paths.items():
        config.paths[name] = str(Path(path).absolute())


def draw(folder: RunFolder) -> None:
    """Draw the curves of a run into its folder."""
    if is_main_process():
        draw_curves(read_ledger(folder.ledger), folder.path / "curves.png")


def _stopped_run(config: DictConfig, run_id: str) -> tuple[RunFolder, DictConfig]:
    """Find a run and its own config; only where things lie may differ from it."""
    overrides = HydraConfig.get().overrides.task
    refused = [o for o in overrides if not o.lstrip("+~").startswith(ALLOWED_WITH_RESUME)]
    if refused:
        raise ConfigError(
            f"resume={run_id} goes on with the run's own settings, but the command also gives {' '.join(refused)}: "
            f"leave that out ({', '.join(ALLOWED_WITH_RESUME[1:])} may be given), or start a new run"
        )
    path = find_run(Path(config.paths.runs), run_id)
    saved = _load(path / "config.yaml")
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key.startswith(("paths.", "data.root")):
            OmegaConf.update(saved, key, str(Path(value).absolute()))
    return RunFolder(path.name, path, Path(saved.paths.checkpoints) / saved.name / path.name), saved


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
