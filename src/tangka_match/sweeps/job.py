"""One job of a sweep: its runs are skipped, resumed or trained, and the manifest records the outcome."""

import itertools
import logging
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich
from rich.markup import escape

from tangka_match.errors import DISK_FULL, CheckpointError, DataFormatError, TangkaMatchError, TrainingError
from tangka_match.records.environment import CodeVersion, code_version
from tangka_match.records.ledger import read_ledger
from tangka_match.records.past_runs import find_runs
from tangka_match.records.run_folder import RunFolder
from tangka_match.records.saved_files import read_mapping
from tangka_match.records.schema import RESULT
from tangka_match.sweeps.folder import SweepFolder, process_info
from tangka_match.sweeps.manifest import COMPLETED
from tangka_match.sweeps.tables import mean_and_std
from tangka_match.training.plan import Reporting, RunPlan, SweepJob
from tangka_match.training.runner import train

logger = logging.getLogger(__name__)


def run_job(
    folder: SweepFolder, job: SweepJob, make_plans: Callable[[], Sequence[RunPlan]], *, any_commit: bool
) -> dict[str, Any]:
    """Carry out the runs of a job and record its outcome in the manifest.

    Args:
        folder: Folder of the sweep.
        job: Number and overrides of the job in the sweep.
        make_plans: Function that checks the settings and plans the runs, one per seed; the job fails if it raises.
        any_commit: Whether finished runs of other code count.

    Returns:
        Fields of the manifest's ``end`` event. A failed job returns too, so that the sweep continues with the others.

    Raises:
        SystemExit: If Ctrl-C or SIGTERM stopped the job.
        Exception: If submitit's signal stopped the job, and submitit could not or would not requeue it; submitit
            records that the job has ended.
    """
    began = time.monotonic()
    outcome: dict[str, Any] = {"status": "stopped", "runs": []}
    with folder.hold_job(job.number):
        folder.manifest.write("start", job=job.number, **process_info())
        rich.print(f"[bold]job {job.number}[/bold] of sweep {job.sweep}: {escape(' '.join(job.overrides))}")
        try:
            outcome = _run_seeds(job, make_plans(), any_commit=any_commit)
        except Exception as error:
            if _follows_a_stop(error):
                outcome["error"] = _one_line(error)
                raise
            outcome = _failure(error)
        finally:
            seconds = round(time.monotonic() - began, 3)
            folder.manifest.write("end", job=job.number, seconds=seconds, **outcome)
    rich.print(f"[bold]job {job.number}[/bold] {outcome['status']}: {_short_result(outcome)} ({seconds:.0f} s)")
    return outcome


def read_run_metrics(run: Path) -> dict[str, float]:
    """Read all metrics of a finished or pruned run that can be objectives.

    Args:
        run: Run folder.

    Returns:
        Validation metrics of ``best.ckpt``; ``parameters``; and ``step_seconds``, the median time per optimizer step,
        if at least two training losses were logged.

    Raises:
        TrainingError: If the ``result.json`` of the run cannot be read.
    """
    path = run / "result.json"
    try:
        result = read_mapping(path, RESULT)
        metrics = {name: float(value) for name, value in result["val_metrics"].items()}
    except (OSError, DataFormatError, KeyError) as error:
        raise TrainingError(f"{path}: not the result of a run ({error}); delete the folder {run}") from error
    if "num_parameters" in result:
        metrics["parameters"] = float(result["num_parameters"])
    return metrics | _step_seconds(run)


def died_without_end(cause: object) -> dict[str, Any]:
    """Return the ``end`` fields of a job whose process ended before it could write them.

    Args:
        cause: Error that ended the process, or its exit code if it left no message.
    """
    if isinstance(cause, Exception):
        return {"status": "failed", "runs": [], "error": f"its process ended before its run: {_one_line(cause)}"}
    reason = " ".join(str(cause).split())
    return {
        "status": "failed",
        "runs": [],
        "error": f"its process died without an error message ({reason}): killed, or out of memory?",
    }


def is_retryable(end: dict[str, Any] | None) -> bool:
    """Whether a further try of a job may succeed: it crashed, and not because of its settings or a full disk."""
    return end is not None and end["status"] not in COMPLETED and not (end.get("users_mistake") or end.get("full_disk"))


def is_full_disk(error: object) -> bool:
    """Whether an error, or the one that caused it, means that the disk or the quota is full."""
    if not isinstance(error, BaseException):
        return False
    chain = (error, error.__cause__, error.__context__)
    return any(isinstance(part, OSError) and part.errno in DISK_FULL for part in chain)


def _run_seeds(job: SweepJob, plans: Sequence[RunPlan], *, any_commit: bool) -> dict[str, Any]:
    """Carry out the run of each seed in turn; the job ends early if the first one is pruned."""
    code = None if any_commit else code_version()
    ids, metrics_of_seeds, status = [], [], "finished"
    resumed: list[str] = []
    reports: dict[int, float] = {}
    for number, plan in enumerate(plans):
        seed = (f"seed={plan.settings.seed}",) if len(plans) > 1 else ()
        # Only first seeds are pruned: further seeds have no counterpart at the same epoch in other trials.
        reporting = _recording(job.reporting, reports) if job.reporting is not None and number == 0 else None
        job_of_seed = replace(job, overrides=(*job.overrides, *seed), reporting=reporting)
        run, status, was_resumed = _run_plan(plan, job_of_seed, code)
        ids.append(run.name)
        resumed += [run.name] if was_resumed else []
        metrics_of_seeds.append(read_run_metrics(run))
        if status == "pruned":
            break
    metrics, std = mean_and_std(metrics_of_seeds)
    outcome: dict[str, Any] = {"status": status, "runs": ids, "metrics": metrics}
    outcome |= {"std": std} if std else {}
    outcome |= {"resumed": resumed} if resumed else {}
    outcome |= {"reports": reports} if reports else {}
    return outcome


def _run_plan(plan: RunPlan, job: SweepJob, code: CodeVersion | None) -> tuple[Path, str, bool]:
    """Reuse a finished run of the same settings, data and code, resume a stopped one, or train.

    Returns:
        Run folder, how the run ended, and whether it was resumed.
    """
    plan.data.prepare_data()
    plan.data.setup("fit")
    found = find_runs(plan.settings.paths.runs, plan.config, plan.data.fingerprint, code)
    for past in found:
        if past.status == "finished":
            rich.print(f"run {past.folder.run_id} has the same settings, data and code and is finished: it is reused")
            return past.folder.path, "finished", False
    stopped = next((past.folder for past in found if past.can_go_on()), None)
    result = _train(plan, stopped, job)
    return result.folder.path, "pruned" if result.pruned else "finished", result.folder == stopped


def _train(plan: RunPlan, stopped: RunFolder | None, job: SweepJob) -> Any:
    if stopped is not None:
        try:
            return train(plan, resume=stopped, job=job)
        except CheckpointError as error:
            logger.warning("run %s cannot be resumed (%s): starting a new one", stopped.run_id, _one_line(error))
    return train(plan, job=job)


def _recording(reporting: Reporting, reports: dict[int, float]) -> Reporting:
    """Wrap a reporter to record its reports, from which a damaged journal can be rebuilt."""

    def record(epoch: int, value: float) -> bool:
        reports[epoch] = value
        return reporting.report(epoch, value)

    return reporting._replace(report=record)


def _step_seconds(run: Path) -> dict[str, float]:
    """Median time per step between logged training losses; the pause of a resumed run is a single outlier."""
    logged = [e for e in read_ledger(run / "ledger.jsonl") if e["event"] == "metrics" and "train/loss" in e["values"]]
    rates = [
        (after["time"] - before["time"]) / (after["step"] - before["step"])
        for before, after in itertools.pairwise(logged)
        if after["step"] > before["step"]
    ]
    return {"step_seconds": statistics.median(rates)} if rates else {}


def _follows_a_stop(error: BaseException) -> bool:
    """Whether an error was raised while a stopped run was leaving, by the handler that is called after it."""
    context = error.__context__
    return context is not None and (isinstance(context, SystemExit) or _follows_a_stop(context))


def _failure(error: Exception) -> dict[str, Any]:
    """Return the outcome of a job that raised; prints the traceback of unexpected errors."""
    outcome: dict[str, Any] = {"status": "failed", "runs": [], "error": _one_line(error)}
    if is_full_disk(error):
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


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:500]}" if text else type(error).__name__
