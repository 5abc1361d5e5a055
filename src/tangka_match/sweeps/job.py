"""What one job of a sweep does: its runs, skipped, resumed or trained, and a line in the manifest however it ends."""

import logging
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rich
from rich.markup import escape

from tangka_match.config.launch import draw
from tangka_match.errors import DISK_FULL, CheckpointError, TangkaMatchError
from tangka_match.records.environment import CodeVersion, code_version
from tangka_match.records.past_runs import find_runs
from tangka_match.records.run_folder import RunFolder
from tangka_match.sweeps.folder import SweepFolder, process_facts
from tangka_match.sweeps.manifest import ENDED_WELL
from tangka_match.sweeps.settings import read_figures
from tangka_match.sweeps.tables import mean_and_spread
from tangka_match.training.plan import RunPlan, SweepJob
from tangka_match.training.runner import train

logger = logging.getLogger(__name__)


def do_job(folder: SweepFolder, job: SweepJob, plans: Sequence[RunPlan], *, any_commit: bool) -> dict[str, Any]:
    """Do the runs of a job and note how it ended.

    Args:
        folder: Of the sweep.
        job: Its place there.
        plans: A run each, one a seed.
        any_commit: Take over what other code has finished.

    Returns:
        The fields of the manifest's ``end`` event. A job that failed returns as well: the others shall go on.

    Raises:
        SystemExit: When asked to stop by Ctrl-C or SIGTERM.
    """
    began = time.monotonic()
    outcome: dict[str, Any] = {"status": "stopped", "runs": []}
    with folder.hold_job(job.number):
        folder.manifest.write("start", job=job.number, **process_facts())
        rich.print(f"[bold]job {job.number}[/bold] of sweep {job.sweep}: {escape(' '.join(job.overrides))}")
        try:
            outcome = _do_runs(job, plans, any_commit=any_commit)
        except Exception as error:
            outcome = _failure(error)
        finally:
            seconds = round(time.monotonic() - began, 3)
            folder.manifest.write("end", job=job.number, seconds=seconds, **outcome)
    rich.print(f"[bold]job {job.number}[/bold] {outcome['status']}: {_short_result(outcome)} ({seconds:.0f} s)")
    return outcome


def _failure(error: Exception) -> dict[str, Any]:
    """The end of a job that raised; what a user can mend has no traceback."""
    outcome: dict[str, Any] = {"status": "failed", "runs": [], "error": _one_line(error)}
    if _is_full_disk(error):
        return outcome | {"full_disk": True}
    if isinstance(error, TangkaMatchError):
        return outcome | {"users_mistake": True}
    traceback.print_exception(error)
    return outcome


def _short_result(outcome: dict[str, Any]) -> str:
    if outcome["status"] == "failed":
        return escape(outcome["error"])
    metrics = outcome["metrics"]
    return f"mean R@1 {metrics['mean_r1']:.2f}, rsum {metrics['rsum']:.1f}, run {' '.join(outcome['runs'])}"


def _do_runs(job: SweepJob, plans: Sequence[RunPlan], *, any_commit: bool) -> dict[str, Any]:
    """Each seed's run in turn; a pruned first seed ends the job."""
    code = None if any_commit else code_version()
    ids, figures, status = [], [], "finished"
    resumed: list[str] = []
    reports: dict[int, float] = {}
    for number, plan in enumerate(plans):
        of_seed = (f"seed={plan.settings.seed}",) if len(plans) > 1 else ()
        # Trials are compared by their first seed: the others have no counterpart at the same epoch.
        report = _noted(job.report, reports) if job.report is not None and number == 0 else None
        part = SweepJob(job.sweep, job.number, (*job.overrides, *of_seed), report)
        run, status, went_on = _do_run(plan, part, code)
        ids.append(run.name)
        resumed += [run.name] if went_on else []
        figures.append(read_figures(run))
        if status == "pruned":
            break
    metrics, std = mean_and_spread(figures)
    outcome: dict[str, Any] = {"status": status, "runs": ids, "metrics": metrics}
    outcome |= {"std": std} if std else {}
    outcome |= {"resumed": resumed} if resumed else {}
    outcome |= {"reports": reports} if reports else {}
    return outcome


def _noted(report: Callable[[int, float], bool], reports: dict[int, float]) -> Callable[[int, float], bool]:
    """The same, and keeps what is reported: a damaged journal can then be written anew from the manifest."""

    def noting(epoch: int, value: float) -> bool:
        reports[epoch] = value
        return report(epoch, value)

    return noting


def _do_run(plan: RunPlan, job: SweepJob, code: CodeVersion | None) -> tuple[Path, str, bool]:
    """Take over the finished run of the same settings, go on with a half-way one, or train.

    Returns:
        The folder, how it ended, and whether it went on half-way.
    """
    plan.data.prepare_data()
    plan.data.setup("fit")
    found = find_runs(plan.settings.paths.runs, plan.config, plan.data.fingerprint, code)
    for past in found:
        if past.status == "finished":
            logger.info("run %s has the same settings, data and code and is finished", past.folder.run_id)
            return past.folder.path, "finished", False
    half_way = next((past.folder for past in found if past.can_go_on()), None)
    result = _train(plan, half_way, job)
    draw(result.folder)
    return result.folder.path, "pruned" if result.pruned else "finished", result.folder == half_way


def _train(plan: RunPlan, half_way: RunFolder | None, job: SweepJob) -> Any:
    if half_way is not None:
        try:
            return train(plan, resume=half_way, job=job)
        except CheckpointError as error:
            logger.warning("run %s cannot go on (%s): it is started anew", half_way.run_id, _one_line(error))
    return train(plan, job=job)


def failed_without_word(code: object) -> dict[str, Any]:
    """The end of a job whose process could not write one.

    Args:
        code: How the process ended, as far as it is known.
    """
    return {
        "status": "failed",
        "runs": [],
        "error": f"its process ended without a word ({code}): killed, or out of memory?",
    }


def is_worth_another_try(end: dict[str, Any] | None) -> bool:
    """Whether a failed job may do better in a second try: not if the settings are wrong or the disk is full."""
    return end is not None and end["status"] not in ENDED_WELL and not end.get("users_mistake")


def _is_full_disk(error: BaseException) -> bool:
    chain = (error, error.__cause__, error.__context__)
    return any(isinstance(part, OSError) and part.errno in DISK_FULL for part in chain)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__
