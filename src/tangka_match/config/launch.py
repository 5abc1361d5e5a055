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
from tangka_match.training.plan import RunPlan
from tangka_match.training.records.ledger import read_ledger
from tangka_match.training.records.run_folder import RunFolder, find_run
from tangka_match.training.runner import RunResult, train

ALLOWED_WITH_RESUME = ("resume", "paths.", "data.root", "debug")


def launch(config: DictConfig) -> RunResult:
    """Train what ``config`` says, or go on with the run that ``config.resume`` names.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    OmegaConf.set_struct(config, False)
    resume = config.pop("resume")
    if resume is None:
        for name, path in config.paths.items():  # the run may be resumed from another folder
            config.paths[name] = str(Path(path).absolute())
        return train_and_draw(build_plan(config))
    folder, saved = _stopped_run(config, str(resume))
    return train_and_draw(build_plan(saved), folder)


def train_and_draw(plan: RunPlan, resume: RunFolder | None = None) -> RunResult:
    """Train, and draw the curves of the run; arguments and errors are those of `train`."""
    result = train(plan, resume)
    if is_main_process():
        draw_curves(read_ledger(result.folder.ledger), result.folder.path / "curves.png")
    return result


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
    saved = load_saved_config(path / "config.yaml")
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key.startswith(("paths.", "data.root")):
            OmegaConf.update(saved, key, str(Path(value).absolute()))
    return RunFolder(path.name, path, Path(saved.paths.checkpoints) / saved.name / path.name), saved


def load_saved_config(path: Path) -> DictConfig:
    """The config that a run wrote.

    Raises:
        ConfigError: If the file cannot be read, or is not such a config.
    """
    try:
        saved = OmegaConf.load(path)
    except (OSError, YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error}); put it right, or start a new run") from error
    missing = [name for name in GROUPS if name not in saved]
    if not isinstance(saved, DictConfig) or missing:
        raise ConfigError(f"{path}: not the config of a run, it lacks {', '.join(missing)}; start a new run")
    return saved
