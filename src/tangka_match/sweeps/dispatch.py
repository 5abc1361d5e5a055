"""Run what a composed config requests: a job of a sweep, several seeds, or a single run."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import rich
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.markup import escape

from tangka_match.config.launch import launch
from tangka_match.errors import TrainingError, disk_errors_explained
from tangka_match.metric_names import PRIMARY_METRIC, VAL_PREFIX
from tangka_match.records.environment import code_origin
from tangka_match.sweeps.ensemble import Recipe, evaluate_ensemble, member_recipes
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
from tangka_match.training.plan import Reporting, SweepJob
from tangka_match.training.result import print_result


def run(config: DictConfig) -> float | None:
    """Run what ``config`` requests, and print the result.

    Returns:
        Main metric of the run, its mean over seeds, or that of an ensemble of several recipes; ``None`` if a job of a
        sweep failed.

    Raises:
        TangkaMatchError: If the settings or the data are invalid, or training fails.
    """
    settings = read_sweep_settings(config)
    overrides = tuple(run_overrides(HydraConfig.get().overrides.task))
    if settings.job is not None:
        return _run_job(config, settings, overrides)
    ensemble = check_ensemble(config, in_sweep=False)
    check_seed_is_used(config, overrides)
    if config.members is not None:
        return _run_recipes(member_recipes(config, overrides), settings, ensemble=ensemble)
    if check_seeds(config.seeds) is not None:
        shown = [o for o in overrides if not o.startswith("seeds=")]
        return _run_recipes([Recipe(config.name, shown, plan_runs(config))], settings, ensemble=ensemble)
    result = launch(config)
    print_result(result)
    return result.metrics[PRIMARY_METRIC]


def _run_job(config: DictConfig, settings: SweepSettings, overrides: tuple[str, ...]) -> float | None:
    """Run a job of a grid or a study."""
    assert settings.job is not None
    assert settings.folder is not None
    end_with_parent()
    folder = SweepFolder(settings.folder)
    job = SweepJob(folder.sweep_id, settings.job, overrides, _reporting(folder, settings))
    end = run_job(folder, job, partial(plan_runs, config), any_commit=settings.any_commit)
    return end.get("metrics", {}).get(PRIMARY_METRIC)


def _reporting(folder: SweepFolder, settings: SweepSettings) -> Reporting | None:
    """Return what a trial reports to its study; ``None`` in a grid or without pruning."""
    if folder.manifest.read().header.get("kind") != "study" or not settings.prunes:
        return None
    from tangka_match.sweeps.study import TrialReporter  # noqa: PLC0415 - Optuna is an optional dependency

    assert settings.job is not None
    return Reporting(VAL_PREFIX + settings.objectives[0], TrialReporter(folder, settings.job, settings))


def _run_recipes(recipes: Sequence[Recipe], settings: SweepSettings, *, ensemble: bool) -> float:
    """Run each recipe with each of its seeds, one after the other."""
    data = DataSets()
    jobs = [(recipe, plan) for recipe in recipes for plan in recipe.plans]
    points = [
        Point(number, [*recipe.overrides, f"seed={plan.settings.seed}"], [plan], [data.check(plan)])
        for number, (recipe, plan) in enumerate(jobs)
    ]
    root = points[0].plans[0].settings.paths.runs / "sweeps"
    with disk_errors_explained(str(root), FULL_DISK_ADVICE):
        sweep = open_sweep(
            root, settings.name, "seeds", sweep_identity(points), objectives=[PRIMARY_METRIC], **code_origin()
        )
        with sweep.lock:
            ends = _run_points(sweep.folder, points, settings)
            return _summarise(sweep.folder, recipes, ends, ensemble=ensemble)


def _run_seed(folder: SweepFolder, point: Point, settings: SweepSettings) -> dict[str, Any]:
    """Run one seed, again if it crashed, and return its last ``end`` event."""
    job = SweepJob(folder.sweep_id, point.number, tuple(point.shown))
    end = run_job(folder, job, lambda: point.plans, any_commit=settings.any_commit)
    for _ in range(settings.retries):
        if is_retryable(end):
            end = run_job(folder, job, lambda: point.plans, any_commit=settings.any_commit)
    return end


def _run_points(folder: SweepFolder, points: Sequence[Point], settings: SweepSettings) -> list[dict[str, Any]]:
    """Run points that are not finished, and return the ``end`` event of each.

    Raises:
        TrainingError: At the end if one failed; at once if the disk is full.
    """
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
            f"{len(failed)} of {len(points)} runs failed; run the same command again to retry them:\n  "
            + "\n  ".join(failed)
        )
    return ends


def _summarise(
    folder: SweepFolder, recipes: Sequence[Recipe], ends: Sequence[dict[str, Any]], *, ensemble: bool
) -> float:
    """Print a table per recipe and one of the ensemble, record them, and return the main metric."""
    summaries: list[dict[str, Any]] = []
    rest = list(ends)
    for recipe in recipes:
        own, rest = rest[: len(recipe.plans)], rest[len(recipe.plans) :]
        metrics, std = mean_and_std([end["metrics"] for end in own])
        interval = intervals_of_means(metrics, std, len(own)) if std else {}
        if std:
            of = f", {escape(recipe.name)}" if len(recipes) > 1 else ""
            title = f"sweep {folder.sweep_id}{of}: {len(own)} seeds, best.ckpt on validation"
            rich.print(seeds_table(metrics, std, len(own), title=title))
        runs = [run for end in own for run in end["runs"]]
        summaries.append({"runs": runs, "metrics": metrics, "std": std, "interval": interval})
    found = evaluate_ensemble(recipes, [run for one in summaries for run in one["runs"]]) if ensemble else None
    averaged = {} if found is None else {"ensemble": found.metrics}
    if found is None or len(recipes) == 1:
        folder.manifest.write("summary", **summaries[0], **averaged)
    else:
        members = [{"name": recipe.name, **one} for recipe, one in zip(recipes, summaries, strict=True)]
        folder.manifest.write("summary", members=members, weights=found.weights, **averaged)
    rich.print(f"sweep folder  {folder.path}")
    metrics = summaries[0]["metrics"] if found is None or len(recipes) == 1 else found.metrics
    return float(metrics[PRIMARY_METRIC])
