"""Run what a composed config requests: a job of a sweep, several seeds, or a single run."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import rich
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.markup import escape

from tangka_match import load
from tangka_match.config.launch import launch
from tangka_match.errors import TrainingError, disk_errors_explained
from tangka_match.metric_names import PRIMARY_METRIC
from tangka_match.records.environment import code_origin
from tangka_match.retrieval.evaluation import evaluate_split
from tangka_match.retrieval.protocols import EvaluationProtocol
from tangka_match.retrieval.tables import recall_table
from tangka_match.sweeps.folder import SweepFolder, open_sweep
from tangka_match.sweeps.grid import sweep_identity
from tangka_match.sweeps.job import is_retryable, run_job
from tangka_match.sweeps.points import (
    DataSets,
    Point,
    check_ensemble,
    check_seed_is_used,
    check_seeds,
    plan_runs,
    read_sweep_settings,
    run_overrides,
)
from tangka_match.sweeps.pool import end_with_parent
from tangka_match.sweeps.session import FULL_DISK_ADVICE
from tangka_match.sweeps.settings import SweepSettings
from tangka_match.sweeps.tables import describe_failures, intervals_of_means, mean_and_std, seeds_table
from tangka_match.training.plan import RunPlan, SweepJob
from tangka_match.training.result import print_result


def run(config: DictConfig) -> float | None:
    """Run what ``config`` requests, and print the result.

    Returns:
        Main metric of the run, or its mean over seeds; ``None`` if a job of a sweep failed.

    Raises:
        TangkaMatchError: If the settings or the data are invalid, or training fails.
    """
    settings = read_sweep_settings(config)
    overrides = tuple(run_overrides(HydraConfig.get().overrides.task))
    if settings.job is not None:
        return _run_job(config, settings, overrides)
    ensemble = check_ensemble(config, in_sweep=False)
    check_seed_is_used(config, overrides)
    if check_seeds(config.seeds) is not None:
        return _run_seeds(config, settings, overrides, ensemble=ensemble)
    result = launch(config)
    print_result(result)
    return result.metrics[PRIMARY_METRIC]


def evaluate_ensemble(plan: RunPlan, run_ids: Sequence[str]) -> dict[str, float]:
    """Average the scores of several runs on the validation split or the held-out fold, and print the metrics.

    The ``best.ckpt`` of each run was selected on the validation split. The command to evaluate another split is printed
    too.

    Args:
        plan: Plan of one of the runs, its data set up.
        run_ids: Ids of the runs.

    Returns:
        Metrics by the names of ``tangka_match.evaluate``.
    """
    settings = plan.settings
    paths = [settings.paths.checkpoints / settings.name / run_id / "best.ckpt" for run_id in run_ids]
    protocol = EvaluationProtocol()
    split, name = plan.data.val, "validation"
    if plan.data.held_out is not None:
        split, name = plan.data.held_out, "the held-out fold"
    evaluation = evaluate_split([load(path) for path in paths], split, protocol)
    metrics, intervals = evaluation.raw.metrics, evaluation.raw.intervals
    title = f"ensemble of {len(paths)} seeds, mean of their scores, on {name}"
    rich.print(recall_table(metrics, intervals, title=title, caption=protocol.describe()))
    rich.print(f"on another split: {_evaluate_command(paths, Path(plan.data.root))}")
    return dict(metrics)


def _evaluate_command(paths: Sequence[Path], root: Path) -> str:
    listed = ",".join(map(str, paths))
    return rf"python -m tangka_match.evaluate 'checkpoint=\[{listed}]' data.root={root} split=test out=<folder>"


def _run_job(config: DictConfig, settings: SweepSettings, overrides: tuple[str, ...]) -> float | None:
    """Run a job of a grid or a study."""
    assert settings.job is not None
    assert settings.folder is not None
    end_with_parent()
    folder = SweepFolder(settings.folder)
    job = SweepJob(folder.sweep_id, settings.job, overrides, _reporter(folder, settings))
    end = run_job(folder, job, partial(plan_runs, config), any_commit=settings.any_commit)
    return end.get("metrics", {}).get(PRIMARY_METRIC)


def _reporter(folder: SweepFolder, settings: SweepSettings) -> Callable[[int, float], bool] | None:
    """Return the reporter of a trial's progress; ``None`` in a grid or without pruning."""
    if folder.manifest.read().header.get("kind") != "study" or not settings.prunes:
        return None
    from tangka_match.sweeps.study import TrialReporter  # noqa: PLC0415 - Optuna is an optional dependency

    assert settings.job is not None
    return TrialReporter(folder, settings.job, settings)


def _run_seeds(config: DictConfig, settings: SweepSettings, overrides: tuple[str, ...], *, ensemble: bool) -> float:
    """Repeat a run with several seeds, one after the other."""
    plans = plan_runs(config)
    data = DataSets()
    shown = [o for o in overrides if not o.startswith("seeds=")]
    points = [
        Point(number, [*shown, f"seed={plan.settings.seed}"], [plan], [data.check(plan)])
        for number, plan in enumerate(plans)
    ]
    root = plans[0].settings.paths.runs / "sweeps"
    with disk_errors_explained(str(root), FULL_DISK_ADVICE):
        sweep = open_sweep(
            root, settings.name, "seeds", sweep_identity(points), objectives=[PRIMARY_METRIC], **code_origin()
        )
        with sweep.lock:
            return _run_each_seed(sweep.folder, points, settings, ensemble=ensemble)


def _run_seed(folder: SweepFolder, point: Point, settings: SweepSettings) -> dict[str, Any]:
    """Run one seed, again if it crashed, and return its last ``end`` event."""
    job = SweepJob(folder.sweep_id, point.number, tuple(point.shown))
    end = run_job(folder, job, lambda: point.plans, any_commit=settings.any_commit)
    for _ in range(settings.retries):
        if is_retryable(end):
            end = run_job(folder, job, lambda: point.plans, any_commit=settings.any_commit)
    return end


def _run_each_seed(folder: SweepFolder, points: Sequence[Point], settings: SweepSettings, *, ensemble: bool) -> float:
    content = folder.manifest.read()
    for damaged in content.damage():
        rich.print(escape(damaged))
    known = content.jobs
    ends: list[dict[str, Any]] = []
    for point in points:
        if point.number not in known:
            folder.manifest.write("job", job=point.number, overrides=point.shown)
        end = _run_seed(folder, point, settings)
        if end.get("full_disk"):
            raise TrainingError(f"job {point.number}: {end['error']}; {FULL_DISK_ADVICE}")
        ends.append(end)
    jobs = folder.manifest.read().jobs
    failed = describe_failures([jobs[point.number] for point in points])
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(points)} seeds failed; run the same command again to retry them:\n  "
            + "\n  ".join(failed)
        )
    metrics, std = mean_and_std([end["metrics"] for end in ends])
    interval = intervals_of_means(metrics, std, len(ends)) if std else {}
    runs = [run for end in ends for run in end["runs"]]
    if std:
        title = f"sweep {folder.sweep_id}: {len(ends)} seeds, best.ckpt on validation"
        rich.print(seeds_table(metrics, std, len(ends), title=title))
    averaged = {"ensemble": evaluate_ensemble(points[0].plans[0], runs)} if ensemble else {}
    folder.manifest.write("summary", runs=runs, metrics=metrics, std=std, interval=interval, **averaged)
    rich.print(f"sweep folder  {folder.path}")
    return metrics[PRIMARY_METRIC]
