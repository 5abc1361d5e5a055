"""From a composed config to a finished run: check, build, train, draw."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf
from yaml import YAMLError

from tangka_match.analysis.curves import draw_curves
from tangka_match.config.build import build_plan
from tangka_match.config.check import GROUPS
from tangka_match.errors import ConfigError
from tangka_match.records.ledger import read_ledger
from tangka_match.records.run_folder import RunFolder, find_run
from tangka_match.records.setting_names import COMMAND_KEYS
from tangka_match.training.distributed import is_main_process
from tangka_match.training.plan import RunPlan
from tangka_match.training.result import RunResult
from tangka_match.training.runner import train

MAY_HAVE_MOVED = ("paths.runs", "paths.checkpoints", "paths.data", "data.root", "data.mix")
ALLOWED_WITH_RESUME = ("resume", *MAY_HAVE_MOVED, "debug")
PATHS = (
    "paths.runs",
    "paths.checkpoints",
    "paths.data",
    "init_from",
    "distillation.teachers",
    "data.vocabulary_path",
    "data.word_vectors_path",
    "data.tokenizer.user_dictionaries",
)
FOLDERS_OR_NAMES = ("model.text_model", "data.tokenizer.source")
"""A folder here, or else a name on the Hugging Face hub, which stays as it is."""


def launch(config: DictConfig) -> RunResult:
    """Train what ``config`` says, or go on with the run that ``config.resume`` names.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    OmegaConf.set_struct(config, False)
    resume, *_ = (config.pop(name) for name in COMMAND_KEYS)
    if resume is None:
        keep_absolute_paths(config)
        return train_and_draw(build_plan(config, HydraConfig.get().overrides.task))
    folder, saved = _stopped_run(config, str(resume))
    return train_and_draw(build_plan(saved), folder)


def train_and_draw(plan: RunPlan, resume: RunFolder | None = None) -> RunResult:
    """Train, and draw the curves of the run; arguments and errors are those of `train`."""
    result = train(plan, resume)
    draw(result.folder)
    return result


def draw(folder: RunFolder) -> None:
    """Draw the curves of a run into its folder."""
    if is_main_process():
        draw_curves(read_ledger(folder.ledger), folder.path / "curves.png")


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
    path = find_run(Path(config.paths.runs).absolute(), run_id)
    saved = _load(path / "config.yaml")
    in_data = Path(saved.paths.data)
    for data_set in _data_sets(saved) if "paths.data" in given else []:
        if Path(data_set.root).is_relative_to(in_data):  # a set that lies there has moved with it
            data_set.root = str(Path(config.paths.data) / Path(data_set.root).relative_to(in_data))
    for name in set(given) & set(MAY_HAVE_MOVED):
        OmegaConf.update(saved, name, OmegaConf.select(config, name))
    keep_absolute_paths(saved)
    return RunFolder(path.name, path, Path(saved.paths.checkpoints) / saved.name / path.name), saved


def keep_absolute_paths(config: DictConfig) -> None:
    """Write every path as it is from here, in place: the run may be resumed from another folder."""
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
    """Whatever names the folder of a data set as its ``root``: ``data``, and what is mixed in."""
    mix = OmegaConf.select(config, "data.mix")
    named = [OmegaConf.select(config, "data"), *(mix if isinstance(mix, ListConfig) else [])]
    return [node for node in named if isinstance(node, DictConfig) and isinstance(node.get("root"), str)]


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
