"""Grids: every combination of the values on the command line; finished points are skipped, stopped ones resumed."""

from collections.abc import Sequence

import rich
from rich.markup import escape

from tangka_match.errors import TrainingError, disk_errors_explained
from tangka_match.metric_names import PRIMARY_METRIC
from tangka_match.records.environment import CodeVersion, code_origin, code_version
from tangka_match.records.run_folder import decisive_settings
from tangka_match.sweeps.folder import OpenSweep, open_sweep
from tangka_match.sweeps.folds import pool_jobs, pooled_table
from tangka_match.sweeps.job import read_run_metrics
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.points import Point, check_points, read_sweep_settings
from tangka_match.sweeps.session import FULL_DISK_ADVICE, Session
from tangka_match.sweeps.tables import best_jobs, describe_failures, jobs_table, mean_and_std


def run_grid(session: Session, arguments: Sequence[str]) -> list[JobRecord]:
    """Check the whole grid, run the points that are not finished, and print how each one ended.

    Args:
        session: Hydra session of the command.
        arguments: Overrides, some of them with several values.

    Returns:
        Records of all points.

    Raises:
        ConfigError: If any point is invalid, before the first one starts.
        TrainingError: At the end if a point failed; at once if the disk is full.
    """
    settings = read_sweep_settings(session.config)
    combinations = session.expand(session.parse(arguments))
    points = check_points(session.compose, combinations, on_this_machine=session.runs_here)
    session.launcher(None)
    code = None if settings.any_commit else code_version()
    with disk_errors_explained(str(session.root), FULL_DISK_ADVICE):
        sweep = open_sweep(
            session.root, settings.name, "grid", sweep_identity(points), objectives=[PRIMARY_METRIC], **code_origin()
        )
        with sweep.lock:
            unfinished = _register_points(sweep, points, code)
            _print_start(sweep, points, unfinished)
            if unfinished:
                jobs = {point.number: point.overrides for point in unfinished}
                session.run_jobs(session.launcher(sweep.folder), sweep.folder, jobs, retries=settings.retries)
            return _print_summary(sweep)


def sweep_identity(points: Sequence[Point]) -> dict[str, object]:
    """Return what two commands must share to be the same sweep: jobs, decisive settings and data.

    The code is not part of it: finished runs are matched by code one by one.
    """
    return {
        "jobs": [point.shown for point in points],
        "settings": [decisive_settings(plan.config) for point in points for plan in point.plans],
        "data": sorted({fingerprint for point in points for fingerprint in point.fingerprints}),
    }


def _register_points(sweep: OpenSweep, points: Sequence[Point], code: CodeVersion | None) -> list[Point]:
    """Write new points and results of earlier runs to the manifest, and return the unfinished points."""
    manifest = sweep.folder.manifest
    known = manifest.read().jobs
    unfinished = []
    for point in points:
        if point.number not in known:
            manifest.write("job", job=point.number, overrides=point.shown)
        past = point.finished_runs(code)
        if past is None:
            unfinished.append(point)
        elif point.number not in known or known[point.number].status != "finished":
            metrics, std = mean_and_std([read_run_metrics(run.folder.path) for run in past])
            runs = [run.folder.run_id for run in past]
            spread = {"std": std} if std else {}
            manifest.write(
                "end", job=point.number, status="finished", runs=runs, metrics=metrics, reused=True, **spread
            )
    return unfinished


def _print_start(sweep: OpenSweep, points: Sequence[Point], unfinished: Sequence[Point]) -> None:
    done = len(points) - len(unfinished)
    before = f", {done} finished before" if done else ""
    rich.print(f"sweep {sweep.folder.sweep_id}: {len(points)} jobs{before}, {len(unfinished)} to go")
    rich.print(f"sweep folder  {escape(str(sweep.folder.path))}")


def _print_summary(sweep: OpenSweep) -> list[JobRecord]:
    content = sweep.folder.manifest.read()
    jobs = [content.jobs[number] for number in sorted(content.jobs)]
    finished = sum(job.status == "finished" for job in jobs)
    pooled = pool_jobs(jobs, sweep.folder.path.parent.parent)
    split = "; metrics of the validation part" if pooled else ""  # the held-out fold selects nothing
    table = jobs_table(
        jobs,
        title=f"sweep {sweep.folder.sweep_id}: {finished} of {len(jobs)} jobs finished{split}",
        columns=[PRIMARY_METRIC, "rsum"],
        best=set() if pooled else best_jobs(jobs, PRIMARY_METRIC),  # a fold is not better, but easier
    )
    rich.print(table)
    if pooled:
        rich.print(pooled_table(pooled))
        sweep.folder.manifest.write("summary", pooled=[row.record() for row in pooled])
    for damaged in content.damage():
        rich.print(escape(damaged))
    failed = describe_failures(jobs)
    if failed:
        raise TrainingError(
            f"{len(failed)} of {len(jobs)} jobs failed; run the same command again to retry them:\n  "
            + "\n  ".join(failed)
        )
    return jobs
