"""Trains the points of a learning curve, each an ordinary run, and has the curve fitted."""

import math
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import rich
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tangka_match.analysis.comparison import in_one_order
from tangka_match.analysis.diagnosis.finding import Section
from tangka_match.analysis.diagnosis.learning_curve import CurveSize, diagnose_learning_curve
from tangka_match.analysis.saturating_curve import FEWEST_SIZES, measure_points
from tangka_match.config.build import build_plan
from tangka_match.config.launch import keep_absolute_paths, train_and_draw
from tangka_match.errors import ConfigError
from tangka_match.records.environment import code_version
from tangka_match.records.ledger import read_ledger
from tangka_match.records.past_runs import find_runs
from tangka_match.records.setting_names import COMMAND_KEYS
from tangka_match.retrieval.evaluation_files import read_ranks_table
from tangka_match.training.plan import RunPlan

TAG = "learning_curve"
OF_THE_POINTS = ("seed", "data.train_share", "resume")


def _ascending(values: list[Any]) -> list[Any]:
    """Each once, the smallest first, whatever the order given."""
    if len(set(values)) < len(values):
        raise ValueError(f"{values}: give each once")
    return sorted(values)


class CurveSettings(BaseModel):
    """Settings of a learning curve; ``conf/diagnose.yaml`` says what each one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str | None
    overrides: list[str]
    shares: Annotated[
        list[Annotated[float, Field(gt=0.0, le=1.0)]], Field(min_length=FEWEST_SIZES), AfterValidator(_ascending)
    ]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2), AfterValidator(_ascending)]
    target: Annotated[float, Field(gt=0.0, lt=100.0)]


class _Point(NamedTuple):
    """A run of the curve, finished."""

    pairs: int
    folder: Path
    verdicts: list[str]


def diagnose_more_pairs(settings: CurveSettings) -> Section:
    """Train what is missing of the curve, and answer how many pairs the target would take.

    Runs that are there already, with the same settings on the same data, are used as they are, and a stopped one goes
    on. Smallest share first, so that one too small for a batch fails at once.

    Raises:
        TangkaMatchError: For whatever a user can mend; runs that finished are kept.
    """
    base = _recipe(settings)
    for share in settings.shares:  # a fault of any size is found before the first is trained
        _check(build_plan(_of_point(base, share, settings.seeds[0])))
    sizes, tables = [], []
    console, total = rich.get_console(), len(settings.shares) * len(settings.seeds)
    for place, share in enumerate(settings.shares):
        points = []
        for number, seed in enumerate(settings.seeds, start=place * len(settings.seeds) + 1):
            console.rule(f"learning curve, run {number} of {total}: {100 * share:g} % of train, seed {seed}")
            points.append(_finished(build_plan(_of_point(base, share, seed))))
        verdicts = [code for point in points for code in point.verdicts]
        pairs = sum(point.pairs for point in points) / len(points)
        sizes.append(CurveSize(share, pairs, [point.folder.name for point in points], verdicts))
        tables.append([point.folder / "ranks.csv" for point in points])
    ranks, caption_to_image = in_one_order({path: read_ranks_table(path) for of_size in tables for path in of_size})
    measured = measure_points([[ranks[path] for path in of_size] for of_size in tables], caption_to_image)
    return diagnose_learning_curve(sizes, measured, settings.target)


def _recipe(settings: CurveSettings) -> DictConfig:
    """The training config: the experiment, the data and paths of this command, and the overrides, which win."""
    refused = [o for o in settings.overrides if o.lstrip("+~").partition("=")[0] in OF_THE_POINTS]
    if refused:
        raise ConfigError(f"curve.overrides: {' '.join(refused)} is the curve's own; set curve.seeds and curve.shares")
    hydra = HydraConfig.get()
    own = [o for o in hydra.overrides.task if o.lstrip("+~").startswith(("data.", "paths.", "paths="))]
    experiment = [] if settings.experiment is None else [f"+experiment={settings.experiment}"]
    config = compose("config", [*experiment, f"data={hydra.runtime.choices['data']}", *own, *settings.overrides])
    OmegaConf.set_struct(config, False)
    for name in COMMAND_KEYS:
        config.pop(name)
    keep_absolute_paths(config)
    config.tags = [*config.tags, TAG]
    return config


def _of_point(base: DictConfig, share: float, seed: int) -> DictConfig:
    """The recipe on a share of train.

    It gets about as many optimizer steps and as many validations as on the whole, or the curve would show what a
    shorter training costs.
    """
    config = base.copy()
    config.seed = seed
    config.data.train_share = share
    config.trainer.max_epochs = math.ceil(config.trainer.max_epochs / share)
    apart = config.trainer.val_every_n_epochs / share
    config.trainer.val_every_n_epochs = round(apart)
    patience = config.training.early_stopping_patience
    if patience is not None:  # in steps, the same for every share, though validations come at whole epochs
        config.training.early_stopping_patience = math.ceil(patience * apart / round(apart))
    return config


def _check(plan: RunPlan) -> None:
    devices = plan.settings.trainer.devices
    if devices != 1:
        raise ConfigError(f"trainer.devices={devices}: a learning curve is trained on one device; use trainer=auto")


def _finished(plan: RunPlan) -> _Point:
    """The run of this plan, from its folder where it is done, else trained."""
    plan.data.prepare_data()
    plan.data.setup("fit")
    past = find_runs(plan.settings.paths.runs, plan.config, plan.data.fingerprint, code_version())
    finished = next((run.folder for run in past if run.status == "finished"), None)
    if finished is None:
        half_way = next((run.folder for run in past if run.can_go_on()), None)
        folder = train_and_draw(plan, half_way).folder.path
    else:
        folder = finished.path
        rich.get_console().print(f"run {folder.name} is done already, and is used", highlight=False)
    verdicts = {event["code"] for event in read_ledger(folder / "ledger.jsonl") if event["event"] == "verdict"}
    return _Point(plan.data.train_sets[0].num_captions, folder, sorted(verdicts))
