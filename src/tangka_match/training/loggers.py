"""Lightning loggers: ledger and CSV table of the run folder, and optionally W&B or TensorBoard."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from jaxtyping import Float
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks
from tangka_match.records.ledger import Ledger, read_ledger
from tangka_match.records.metrics_table import MetricsTable
from tangka_match.records.run_folder import RunFolder
from tangka_match.retrieval.answers import pick_examples
from tangka_match.training.distributed import is_main_process, rank_zero_only
from tangka_match.training.settings import LoggerSettings
from tangka_match.training.wandb_environment import mode_of
from tangka_match.training.wandb_run import finish_wandb, keep_best, start_wandb


class LedgerLogger(Logger):
    """Logger that writes metrics to ``ledger.jsonl`` and to ``metrics.csv``.

    Args:
        ledger: Ledger of the run.
        table: Table behind ``metrics.csv``; ``None`` writes the ledger only.
    """

    def __init__(self, ledger: Ledger, table: MetricsTable | None) -> None:
        super().__init__()
        self._ledger = ledger
        self._table = table

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "ledger"

    @property
    def version(self) -> int:
        """Version of the logger; always 0, because a run has one ledger."""
        return 0

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one event and one row; ``step`` is the optimizer step, from 0."""
        values = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        epoch = int(metrics.get("epoch", 0))
        self._ledger.write("metrics", step=step or 0, epoch=epoch, values=values)
        if self._table is not None:
            self._table.append(step or 0, epoch, values)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run folder holds the whole config."""

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Record that the run continues at ``step``, and remove later rows from the CSV table."""
        self._ledger.write("resume", step=step)
        if self._table is not None:
            rows = [e for e in read_ledger(self._ledger.path) if e["event"] == "metrics"]
            self._table.replace([{"step": e["step"], "epoch": e["epoch"], **e["values"]} for e in rows])


def make_service_logger(
    settings: LoggerSettings,
    folder: RunFolder,
    *,
    name: str,
    group: str,
    tags: Sequence[str],
    overrides: Sequence[str],
    config: dict[str, Any],
) -> Logger | None:
    """Start W&B or TensorBoard for a run; see ``start_wandb`` for the arguments.

    Returns:
        The logger; ``None`` for the other kinds, and with ``WANDB_MODE=disabled``.

    Raises:
        ConfigError: If TensorBoard is not installed, or W&B cannot log in or reach its server.
    """
    if settings.kind == "wandb" and mode_of(settings) == "disabled":
        return None
    if settings.kind == "wandb":
        return start_wandb(settings, folder, name=name, group=group, tags=tags, overrides=overrides, config=config)
    if settings.kind != "tensorboard":
        return None
    try:
        return TensorBoardLogger(folder.path, name="", version="tensorboard")
    except ModuleNotFoundError as error:
        raise ConfigError('logger=tensorboard needs TensorBoard: pip install "tangka-match[tensorboard]"') from error


def keep_result(
    service: Logger | None, folder: RunFolder, similarity: Float[Tensor, "I C"], ranks: Ranks, val: Split
) -> None:
    """Log the best checkpoint and examples of its answers to W&B; other trackers take metrics only.

    Args:
        service: Logger from ``make_service_logger``.
        folder: Run folder with ``best.ckpt`` and ``result.json``.
        similarity: Scores of the best checkpoint on the validation split, (I, C).
        ranks: Ranks by ``similarity``.
        val: Validation split.
    """
    if isinstance(service, WandbLogger) and is_main_process():
        keep_best(service, folder, pick_examples(similarity, ranks, val), val)


def finish_service_logger(service: Logger | None, *, exit_code: int, summary: dict[str, float]) -> None:
    """Close an experiment tracker.

    Args:
        service: Logger from ``make_service_logger``.
        exit_code: Exit code of the run; 0 if it has finished.
        summary: Metrics of the best checkpoint.
    """
    if isinstance(service, WandbLogger) and is_main_process():
        finish_wandb(service, exit_code=exit_code, summary=summary)
    elif service is not None:
        service.finalize("success" if exit_code == 0 else "failed")
