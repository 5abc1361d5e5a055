"""Terminal output about runs: a table of runs, and the details of a run."""

import time
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tangka_match.analysis.runs.differences import choose_columns, differing_keys, short_names, short_value
from tangka_match.metric_names import METRICS
from tangka_match.records.run_record import RunRecord
from tangka_match.records.setting_names import SEED_KEYS

MAX_SETTINGS = 5
"""Most differing settings shown per run."""
TIMESTAMP_LENGTH = len("20261124-034512")
STYLES = {"finished": "green", "running": "blue", "failed": "red", "killed": "yellow", "pruned": "magenta"}


def run_table(runs: Sequence[RunRecord]) -> Table:
    """Build a table with one row per run: status, mean R@1, steps, time, and the settings that differ.

    Args:
        runs: Runs, in display order.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for heading in ("run", "status", "mean R@1", "steps", "time"):
        table.add_column(heading, justify="left" if heading in ("run", "status") else "right", no_wrap=True)
    table.add_column("experiment and settings", overflow="fold")
    ids = short_ids([run.run_id for run in runs])
    columns = choose_columns(runs, differing_keys(runs))[:MAX_SETTINGS]
    names = short_names(columns)
    for run in runs:
        settings = [f"{names[key]}={short_value(run.config[key])}" for key in columns if key in run.config]
        seed = [] if run.seed is None else [f"{SEED_KEYS[0]}={run.seed}"]
        table.add_row(
            ids[run.run_id],
            Text(run.status, style=STYLES.get(run.status, "")),
            f"{run.metrics['mean_r1']:.2f}" if "mean_r1" in run.metrics else "–",
            f"{run.steps:,}",
            duration(run.seconds),
            Text(" ".join([run.name, *settings, *seed])),
        )
    return table


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Shorten run ids to their shortest unique prefixes, at least the timestamp; ``show=`` and ``resume=`` accept them.

    >>> short_ids(["20261124-034512-3fa9c1-7be2", "20261124-034513-3fa9c1-0001", "20261124-034513-3fa9c1-9a02"])
    {'20261124-034512-3fa9c1-7be2': '20261124-034512', '20261124-034513-3fa9c1-0001': '20261124-034513-3fa9c1-0', \
'20261124-034513-3fa9c1-9a02': '20261124-034513-3fa9c1-9'}
    """
    return {
        run_id: next(
            (
                run_id[:length]
                for length in range(min(TIMESTAMP_LENGTH, len(run_id)), len(run_id))
                if sum(other.startswith(run_id[:length]) for other in ids) == 1
            ),
            run_id,
        )
        for run_id in ids
    }


def print_run(console: Console, run: RunRecord) -> None:
    """Print all details of a run.

    Args:
        console: Console to print to.
        run: Run to print.
    """
    facts = Table(title=run.run_id, title_justify="left", show_header=False)
    for label, value in _facts(run):
        if value:
            facts.add_row(label, Text(value, overflow="fold"))
    console.print(facts)
    if run.metrics:
        state = "validation of best.ckpt" if run.intervals else "best validation so far"
        table = Table(title=state, title_justify="left")
        for heading in ("metric", "value", "95 % interval"):
            table.add_column(heading, justify="left" if heading == "metric" else "right")
        for name in METRICS:
            if name in run.metrics:
                low, high = run.intervals.get(name, (None, None))
                ends = "–" if low is None else f"{low:.1f}–{high:.1f}"
                table.add_row(name, f"{run.metrics[name]:.2f}", ends)
        console.print(table)
    for code, message in run.verdicts:
        console.print(Text(f"guard, {code}: {message}"))


def _facts(run: RunRecord) -> list[tuple[str, str]]:
    trouble = [*run.problems, *([f"{run.skipped} unreadable ledger lines skipped"] if run.skipped else [])]
    job = "" if run.job is None else f", job {run.job}"
    started = "" if run.started is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))
    rate = run.clock.seconds_per_step()
    return [
        ("experiment", run.name),
        ("status", run.status),
        ("started", started),
        ("time", duration(run.seconds) + ("" if rate is None else f", {rate:.3g} s per step")),
        ("of which", run.working_time.describe()),
        ("steps", f"{run.steps:,}" + ("" if run.best_step is None else f", best at {run.best_step:,}")),
        ("sweep", "" if run.sweep is None else run.sweep + job),
        ("overrides", " ".join(run.overrides)),
        ("seed", "" if run.seed is None else str(run.seed)),
        ("tags", ", ".join(run.tags)),
        ("parameters", "" if run.num_parameters is None else f"{run.num_parameters:,}"),
        ("data", str(run.config.get("data.root", "")) + ("" if run.data is None else f" ({run.data})")),
        ("commit", run.commit or ""),
        ("command", run.command or ""),
        ("folder", str(run.path)),
        ("unreadable", "; ".join(trouble)),
    ]


def duration(seconds: float) -> str:
    """Format a duration.

    >>> duration(45), duration(700), duration(11_100), duration(187_200)
    ('45 s', '12 min', '3 h 5 min', '52 h 0 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
