"""Train the points of a learning curve, each as an ordinary run, and fit the curve."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import rich
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from tangka_match.analysis.comparison import in_one_order
from tangka_match.analysis.diagnosis.finding import Section
from tangka_match.analysis.diagnosis.learning_curve import CurveSize, diagnose_learning_curve
from tangka_match.analysis.saturating_curve import measure_points
from tangka_match.config.build import build_plan
from tangka_match.config.launch import keep_absolute_paths
from tangka_match.errors import ConfigError
from tangka_match.records.environment import code_version
from tangka_match.records.ledger import read_ledger
from tangka_match.records.past_runs import find_runs
from tangka_match.records.setting_names import COMMAND_KEYS
from tangka_match.retrieval.evaluation_files import read_ranks_table
from tangka_match.training.plan import RunPlan
from tangka_match.training.runner import train

TAG = "learning_curve"
SET_BY_THE_CURVE = ("seed", "data.train_share", "resume")


class _Point(NamedTuple):
    """Finished run of the curve."""

    pairs: int
    folder: Path
    verdicts: list[str]


def train_learning_curve(
    *, experiment: str | None, overrides: Sequence[str], shares: Sequence[float], seeds: Sequence[int], target: float
) -> Section:
    """Train the missing points of a learning curve and estimate how many pairs reach the target.

    Finished runs with the same settings, data and code are reused, and stopped ones are resumed. Data and paths are
    those of the running Hydra command. The smallest share comes first, so that a share that is too small fails before
    any long run.

    Args:
        experiment: Recipe to train, a file of ``conf/experiment/``; ``None`` trains the defaults of
            ``conf/config.yaml``.
        overrides: Further overrides of the training config; they win over the experiment.
        shares: Shares of the training images, ascending, in (0, 1].
        seeds: Seeds trained per share.
        target: Mean R@1 to reach on validation (percent).

    Raises:
        TangkaMatchError: If a setting is invalid or a run fails; finished runs are kept.
    """
    base = _compose_recipe(experiment, overrides)
    for share in shares:  # find the faults of every size before training the first
        _check(build_plan(_config_of_point(base, share, seeds[0])))
    sizes, tables = [], []
    console, total = rich.get_console(), len(shares) * len(seeds)
    for place, share in enumerate(shares):
        points = []
        for number, seed in enumerate(seeds, start=place * len(seeds) + 1):
            console.rule(f"learning curve, run {number} of {total}: {100 * share:g} % of train, seed {seed}")
            points.append(_finish_point(build_plan(_config_of_point(base, share, seed))))
        verdicts = [code for point in points for code in point.verdicts]
        pairs = sum(point.pairs for point in points) / len(points)
        sizes.append(CurveSize(share, pairs, [point.folder.name for point in points], verdicts))
        tables.append([point.folder / "ranks.csv" for point in points])
    ranks, caption_to_image = in_one_order({path: read_ranks_table(path) for paths in tables for path in paths})
    measured = measure_points([[ranks[path] for path in paths] for paths in tables], caption_to_image)
    return diagnose_learning_curve(sizes, measured, target)


def _compose_recipe(experiment: str | None, overrides: Sequence[str]) -> DictConfig:
    """Compose the training config from the experiment, the data and paths of this command, and the overrides."""
    refused = [o for o in overrides if o.lstrip("+~").partition("=")[0] in SET_BY_THE_CURVE]
    if refused:
        raise ConfigError(
            f"curve.overrides: {' '.join(refused)} is set by the curve itself; use curve.seeds and curve.shares"
        )
    hydra = HydraConfig.get()
    own = [o for o in hydra.overrides.task if o.lstrip("+~").startswith(("data.", "paths.", "paths="))]
    recipe = [] if experiment is None else [f"+experiment={experiment}"]
    config = compose("config", [*recipe, f"data={hydra.runtime.choices['data']}", *own, *overrides])
    if config.members is not None:
        raise ConfigError(
            f"curve.experiment={experiment} is an ensemble of {', '.join(config.members)}: give one of them"
        )
    OmegaConf.set_struct(config, False)
    for name in COMMAND_KEYS:
        config.pop(name)
    keep_absolute_paths(config)
    config.tags = [*config.tags, TAG]
    return config


def _config_of_point(base: DictConfig, share: float, seed: int) -> DictConfig:
    """Set a share of train and a seed, with about as many optimizer steps and validations as on the whole set.

    Otherwise the curve would show the effect of shorter training.
    """
    config = base.copy()
    config.seed = seed
    config.data.train_share = share
    config.trainer.max_epochs = math.ceil(config.trainer.max_epochs / share)
    apart = config.trainer.val_every_n_epochs / share
    config.trainer.val_every_n_epochs = round(apart)
    patience = config.training.early_stopping_patience
    if patience is not None:  # the same number of steps for every share, though validations come at whole epochs
        config.training.early_stopping_patience = math.ceil(patience * apart / round(apart))
    return config


def _check(plan: RunPlan) -> None:
    devices = plan.settings.trainer.devices
    if devices != 1:
        raise ConfigError(f"trainer.devices={devices}: a learning curve is trained on one device; use trainer=auto")


def _finish_point(plan: RunPlan) -> _Point:
    """Reuse the finished run of this plan, resume a stopped one, or train."""
    plan.data.prepare_data()
    plan.data.setup("fit")
    past = find_runs(plan.settings.paths.runs, plan.config, plan.data.fingerprint, code_version())
    finished = next((run.folder for run in past if run.status == "finished"), None)
    if finished is None:
        stopped = next((run.folder for run in past if run.can_go_on()), None)
        folder = train(plan, stopped).folder.path
    else:
        folder = finished.path
        rich.get_console().print(f"run {folder.name} is finished already and is reused", highlight=False)
    verdicts = {event["code"] for event in read_ledger(folder / "ledger.jsonl") if event["event"] == "verdict"}
    return _Point(plan.data.train_sets[0].num_captions, folder, sorted(verdicts))
