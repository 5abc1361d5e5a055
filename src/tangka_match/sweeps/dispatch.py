"""What a composed config asks for: a job of a sweep, several seeds, or one run."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rich
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from tangka_match import load
from tangka_match.config.launch import launch
from tangka_match.errors import ConfigError, TrainingError
from tangka_match.records.environment import code_origin
from tangka_match.retrieval.evaluation import evaluate_split
from tangka_match.retrieval.protocols import EvaluationProtocol
from tangka_match.retrieval.tables import recall_table
from tangka_match.sweeps.folder import SweepFolder, open_sweep
from tangka_match.sweeps.grid import identity_of
from tangka_match.sweeps.job import do_job, is_worth_another_try
from tangka_match.sweeps.points import DataSets, Point, check_seeds, own_overrides, plans_of, read_sweep_settings
from tangka_match.sweeps.pool import end_with_parent
from tangka_match.sweeps.session import full_disk_explained
from tangka_match.sweeps.settings import MAIN, SweepSettings
from tangka_match.sweeps.tables import failures, intervals_of_means, mean_and_spread, seeds_table
from tangka_match.training.plan import RunPlan, SweepJob
from tangka_match.training.result import print_result


def check_ensemble(config: DictConfig, *, in_sweep: bool) -> bool:
    """Whether an ensemble is asked for.

    Raises:
        ConfigError: If it is asked for where there are no seeds to average, or in a job of a sweep.
    """
    if config.ensemble is False:
        return False
    if config.ensemble is not True:
        raise ConfigError(f"ensemble={config.ensemble!r}; allowed: true or false")
    if in_sweep:
        raise ConfigError("ensemble=true in a sweep: its trials are compared by single models; set ensemble=false")
    if len(check_seeds(config.seeds) or []) < 2:
        raise ConfigError(f"ensemble=true with seeds={config.seeds}: give at least two seeds, such as 'seeds=[0,1,2]'")
    return True


def evaluate_ensemble(plan: RunPlan, run_ids: Sequence[str]) -> dict[str, float]:
    """Average the scores of each run's ``best.ckpt`` on the validation split, and print the recalls.

    Every checkpoint was chosen on that split, as a single model's is; another split's figures take
    ``tangka_match.evaluate``, whose command is printed too.

    Args:
        plan: Of any of the runs, its data set up.
        run_ids: A run a model.

    Returns:
        Metrics as ``tangka_match.evaluate`` names them.
    """
    settings = plan.settings
    paths = [settings.paths.checkpoints / settings.name / run_id / "best.ckpt" for run_id in run_ids]
    protocol = EvaluationProtocol()
    evaluation = evaluate_split([load(path) for path in paths], plan.data.val, protocol)
    metrics, intervals = evaluation.raw.metrics, evaluation.raw.intervals
    title = f"ensemble of {len(paths)} seeds, mean of their scores, on validation"
    rich.print(recall_table(metrics, intervals, title=title, caption=protocol.describe()))
    rich.print(f"on another split: {_command(paths, Path(plan.data.root))}")
    return dict(metrics)


def _command(paths: Sequence[Path], root: Path) -> str:
    listed = ",".join(map(str, paths))
    return rf"python -m tangka_match.evaluate 'checkpoint=\[{listed}]' data.root={root} split=test out=<folder>"


def run(config: DictConfig) -> float | None:
    """Run it, print what came out, and return the main metric; ``None`` where a job of a sweep failed.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    settings = read_sweep_settings(config)
    overrides = tuple(own_overrides(HydraConfig.get().overrides.task))
    ensemble = check_ensemble(config, in_sweep=settings.job is not None)
    if settings.job is not None:
        return _run_job(config, settings, overrides)
    if check_seeds(config.seeds) is not None:
        return _run_seeds(config, settings, overrides, ensemble=ensemble)
    result = launch(config)
    print_result(result)
    return result.metrics[MAIN]


def _run_job(config: DictConfig, settings: SweepSettings, overrides: tuple[str, ...]) -> float | None:
    """A job of a grid or a study."""
    assert settings.job is not None
    assert settings.folder is not None
    end_with_parent()
    folder = SweepFolder(settings.folder)
    report = _reporter(folder, settings)
    job = SweepJob(folder.sweep_id, settings.job, overrides, report)
    end = do_job(folder, job, plans_of(config), any_commit=settings.any_commit)
    return end.get("metrics", {}).get(MAIN)


def _reporter(folder: SweepFolder, settings: SweepSettings) -> Callable[[int, float], bool] | None:
    """Who is told of a trial's progress; nobody in a grid, or where nothing is pruned."""
    if folder.manifest.read().header.get("kind") != "study" or not settings.prunes:
        return None
    from tangka_match.sweeps.study import TrialReporter  # noqa: PLC0415 (Optuna is an extra)

    assert settings.job is not None
    return TrialReporter(folder, settings.job, settings)


def _run_seeds(config: DictConfig, settings: SweepSettings, overrides: tuple[str, ...], *, ensemble: bool) -> float:
    """The same run with several seeds, one after the other, and what they say together."""
    plans = plans_of(config)
    data = DataSets()
    shown = [o for o in overrides if not o.startswith("seeds=")]
    points = [
        Point(number, [*shown, f"seed={plan.settings.seed}"], [plan], [data.check(plan)])
        for number, plan in enumerate(plans)
    ]
    root = plans[0].settings.paths.runs / "sweeps"
    with full_disk_explained(root):
        sweep = open_sweep(
            root,
            settings.name,
            "seeds",
            identity_of(points),
            objectives=[MAIN],
            **code_origin(),
        )
        with sweep.lock:
            return _do_seeds(sweep.folder, points, settings, ensemble=ensemble)


def _do_seeds(folder: SweepFolder, points: Sequence[Point], settings: SweepSettings, *, ensemble: bool) -> float:
    known = folder.manifest.read().jobs
    ends: list[dict[str, Any]] = []
    for point in points:
        if point.number not in known:
            folder.manifest.write("job", job=point.number, overrides=point.shown)
        job = SweepJob(folder.sweep_id, point.number, tuple(point.shown))
        end = do_job(folder, job, point.plans, any_commit=settings.any_commit)
        for _ in range(settings.retries):
            if is_worth_another_try(end):
                end = do_job(folder, job, point.plans, any_commit=settings.any_commit)
        if end.get("full_disk"):
            raise TrainingError(f"seed of job {point.number}: {end['error']}; the same command goes on from here")
        ends.append(end)
    jobs = folder.manifest.read().jobs
    wrong = failures([jobs[point.number] for point in points])
    if wrong:
        raise TrainingError(
            f"{len(wrong)} of {len(points)} seeds failed; the same command tries them again:\n  " + "\n  ".join(wrong)
        )
    metrics, std = mean_and_spread([end["metrics"] for end in ends])
    interval = intervals_of_means(metrics, std, len(ends)) if std else {}
    runs = [run for end in ends for run in end["runs"]]
    if std:
        title = f"sweep {folder.sweep_id}: {len(ends)} seeds, best.ckpt on validation"
        rich.print(seeds_table(metrics, std, len(ends), title=title))
    together = {"ensemble": evaluate_ensemble(points[0].plans[0], runs)} if ensemble else {}
    folder.manifest.write("summary", runs=runs, metrics=metrics, std=std, interval=interval, **together)
    rich.print(f"its folder   {folder.path}")
    return metrics[MAIN]
