"""The models of several seeds as one: their scores averaged, on the validation split."""

from collections.abc import Sequence
from pathlib import Path

import rich
from omegaconf import DictConfig

from tangka_match import load
from tangka_match.config.sweeps.points import check_seeds
from tangka_match.errors import ConfigError
from tangka_match.retrieval.evaluation import evaluate_split
from tangka_match.retrieval.protocols import Protocol
from tangka_match.retrieval.recall_table import recall_table
from tangka_match.training.plan import RunPlan


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
    protocol = Protocol()
    evaluation = evaluate_split([load(path) for path in paths], plan.data.val, protocol)
    metrics, intervals = evaluation.raw.metrics, evaluation.raw.intervals
    title = f"ensemble of {len(paths)} seeds, mean of their scores, on validation"
    rich.print(recall_table(metrics, intervals, title=title, caption=protocol.describe()))
    rich.print(f"on another split: {_command(paths, Path(plan.data.root))}")
    return dict(metrics)


def _command(paths: Sequence[Path], root: Path) -> str:
    listed = ",".join(map(str, paths))
    return rf"python -m tangka_match.evaluate 'checkpoint=\[{listed}]' data.root={root} split=test out=<folder>"
