"""A grid: every combination of the values on the command line; finished points are skipped, others go on."""

from collections.abc import Sequence

import rich
from rich.markup import escape

from tangka_match.errors import TrainingError
from tangka_match.records.environment import CodeVersion, code_origin, code_version
from tangka_match.records.run_folder import decisive_settings
from tangka_match.sweeps.folder import OpenSweep, open_sweep
from tangka_match.sweeps.manifest import JobRecord
from tangka_match.sweeps.points import Point, check_points, read_sweep_settings
from tangka_match.sweeps.session import Session, full_disk_explained
from tangka_match.sweeps.settings import MAIN, read_figures
from tangka_match.sweeps.tables import best_jobs, failures, jobs_table, mean_and_spread


def run_grid(session: Session, arguments: Sequence[str]) -> list[JobRecord]:
    """Check the whole grid, run what is not yet done, and print how each point ended.

    Args:
        session: Of the command.
        arguments: Overrides, some of them with several values.

    Returns:
        A record a point.

    Raises:
        ConfigError: If any point is faulty, before the first one starts.
        TrainingError: In the end, if a point failed; or at once, if the disk is full.
    """
    settings = read_sweep_settings(session.config)
    points = check_points(session.compose, session.expand(session.parse(arguments)))
    session.launcher(None)
    code = None if settings.any_commit else code_version()
    with full_disk_explained(session.root):
        sweep = open_sweep(
            session.root,
            settings.name,
            "grid",
            identity_of(points),
            objectives=[MAIN],
            **code_origin(),
        )
        with sweep.lock:
            todo = _note_points(sweep, points, code)
            _announce(sweep, points, todo)
            if todo:
                jobs = {point.number: point.overrides for point in todo}
                session.run_jobs(session.launcher(sweep.folder), sweep.folder, jobs, retries=settings.retries)
            return _report(sweep)


def identity_of(points: Sequence[Point]) -> dict[str, object]:
    """What makes a sweep the same sweep: its jobs, everything else that decides their numbers, and the data.

    The code is not part of it: which finished points count is asked of the runs themselves.
    """
    return {
        "jobs": [point.shown for point in points],
        "settings": [decisive_settings(plan.config) for point in points for plan in point.plans],
        "data": sorted({fingerprint for point in points for fingerprint in point.fingerprints}),
    }


def _note_points(sweep: OpenSweep, points: Sequence[Point], code: CodeVersion | None) -> list[Point]:
    """Note the new points and those that earlier runs have done; returns the others."""
    manifest = sweep.folder.manifest
    known = manifest.read().jobs
    todo = []
    for point in points:
        if point.number not in known:
            manifest.write("job", job=point.number, overrides=point.shown)
        done = point.finished_runs(code)
        if done is None:
            todo.append(point)
        elif point.number not in known or known[point.number].status != "finished":
            metrics, std = mean_and_spread([read_figures(run.folder.path) for run in done])
            runs = [run.folder.run_id for run in done]
            spread = {"std": std} if std else {}
            manifest.write(
                "end", job=point.number, status="finished", runs=runs, metrics=metrics, reused=True, **spread
            )
    return todo


def _announce(sweep: OpenSweep, points: Sequence[Point], todo: Sequence[Point]) -> None:
    done = len(points) - len(todo)
    before = f", {done} finished before" if done else ""
    rich.print(f"sweep {sweep.folder.sweep_id}: {len(points)} jobs{before}, {len(todo)} to go")
    rich.print(f"its folder   {escape(str(sweep.folder.path))}")


def _report(sweep: OpenSweep) -> list[JobRecord]:
    content = sweep.folder.manifest.read()
    jobs = [content.jobs[number] for number in sorted(content.jobs)]
    finished = sum(job.status == "finished" for job in jobs)
    table = jobs_table(
        jobs,
        title=f"sweep {sweep.folder.sweep_id}: {finished} of {len(jobs)} jobs finished",
        objectives=[MAIN, "rsum"],
        best=best_jobs(jobs, MAIN),
    )
    rich.print(table)
    if content.corrupt:
        rich.print(f"{escape(str(sweep.folder.manifest.path))}: {content.corrupt} damaged line(s) skipped")
    wrong = failures(jobs)
    if wrong:
        raise TrainingError(
            f"{len(wrong)} of {len(jobs)} jobs failed; the same command tries them again:\n  " + "\n  ".join(wrong)
        )
    return jobs
