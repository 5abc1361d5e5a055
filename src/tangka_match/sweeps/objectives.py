"""What a study can look for: the figures that every run reports, and which way is better."""

import difflib
import itertools
import json
import statistics
from pathlib import Path
from typing import Any, Literal

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.metrics.summary import HIGHER_IS_BETTER, RANK_STATISTICS
from tangka_match.training.records.ledger import read_ledger

LOWER_IS_BETTER = (*RANK_STATISTICS, "parameters", "step_seconds")
MAIN = "mean_r1"


def check_objective(name: str) -> None:
    """Refuse what no run reports.

    Raises:
        ConfigError: Listing what there is.

    >>> check_objective("mean_r10")
    Traceback (most recent call last):
    tangka_match.errors.ConfigError: objectives: no run reports 'mean_r10'. Did you mean mean_r1? Allowed: mean_r1, ...
    """
    known = (*HIGHER_IS_BETTER, *LOWER_IS_BETTER)
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"objectives: no run reports {name!r}.{hint} Allowed: {', '.join(known)}")


def direction_of(name: str) -> Literal["maximize", "minimize"]:
    """``maximize`` or ``minimize``, as Optuna calls it.

    >>> direction_of("mean_r1"), direction_of("parameters")
    ('maximize', 'minimize')
    """
    return "maximize" if name in HIGHER_IS_BETTER else "minimize"


def read_figures(run: Path) -> dict[str, float]:
    """Read every figure of a run that has ended well.

    Args:
        run: Its folder.

    Returns:
        The metrics of ``best.ckpt`` on validation, ``parameters``, and ``step_seconds``, the median time of an
        optimizer step, where the run is long enough to say.

    Raises:
        TrainingError: If the folder's ``result.json`` cannot be read.
    """
    path = run / "result.json"
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        figures = {name: float(value) for name, value in result["val_metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(f"{path}: not the result of a run ({error}); delete the folder {run}") from error
    if "num_parameters" in result:
        figures["parameters"] = float(result["num_parameters"])
    return figures | _step_seconds(run)


def _step_seconds(run: Path) -> dict[str, float]:
    """From the times in the ledger at which training losses were logged; a pause of a resumed run is one outlier."""
    logged = [e for e in read_ledger(run / "ledger.jsonl") if e["event"] == "metrics" and "train/loss" in e["values"]]
    gaps = [
        (after["time"] - before["time"]) / (after["step"] - before["step"])
        for before, after in itertools.pairwise(logged)
        if after["step"] > before["step"]
    ]
    return {"step_seconds": statistics.median(gaps)} if gaps else {}
