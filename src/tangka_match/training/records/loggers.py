"""Lightning loggers: the run folder's own ledger and CSV, and W&B or TensorBoard beside them."""

import logging
from argparse import Namespace
from typing import Any

import wandb
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from tangka_match.errors import ConfigError
from tangka_match.training.lightning_facts import is_main_process, rank_zero_only
from tangka_match.training.records.ledger import Ledger, read_ledger
from tangka_match.training.records.metrics_table import MetricsTable
from tangka_match.training.records.run_folder import RunFolder
from tangka_match.training.settings import LoggerSettings


class LedgerLogger(Logger):
    """Writes metrics to ``ledger.jsonl`` and, if asked, ``metrics.csv`` the moment they are logged.

    Args:
        ledger: Of the run.
        table: Of the run, or ``None`` to keep the ledger alone.
    """

    def __init__(self, ledger: Ledger, table: MetricsTable | None) -> None:
        super().__init__()
        self._ledger = ledger
        self._table = table

    @property
    def name(self) -> str:
        """Of the logger."""
        return "ledger"

    @property
    def version(self) -> int:
        """Always 0: a run has one ledger."""
        return 0

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one event and one row; ``step`` is the optimizer step they belong to, from 0."""
        values = {name: float(value) for name, value in metrics.items() if name != "epoch"}
        epoch = int(metrics.get("epoch", 0))
        self._ledger.write("metrics", step=step or 0, epoch=epoch, values=values)
        if self._table is not None:
            self._table.append(step or 0, epoch, values)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run folder holds the whole config."""

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Note that the run goes on at ``step``, and take the rows after it out of the CSV."""
        self._ledger.write("resume", step=step)
        if self._table is not None:
            rows = [e for e in read_ledger(self._ledger.path) if e["event"] == "metrics"]
            self._table.replace([{"step": e["step"], "epoch": e["epoch"], **e["values"]} for e in rows])


def make_service_logger(
    settings: LoggerSettings, folder: RunFolder, *, group: str, tags: tuple[str, ...], config: dict[str, Any]
) -> Logger | None:
    """Start W&B or TensorBoard for a run, or neither.

    Args:
        settings: Which one, and how.
        folder: Of the run; offline files go there.
        group: Runs of one experiment.
        tags: For filtering.
        config: The composed config, plain.

    Raises:
        ConfigError: If TensorBoard is asked for and not installed, or W&B cannot log in or reach its server.
    """
    if settings.kind == "tensorboard":
        try:
            return TensorBoardLogger(folder.path, name="", version="tensorboard")
        except ModuleNotFoundError as error:
            raise ConfigError(
                'logger=tensorboard needs TensorBoard: pip install "tangka-match[tensorboard]"'
            ) from error
    if settings.kind != "wandb":
        return None
    logging.getLogger("wandb").setLevel(logging.WARNING)
    try:
        run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode="offline" if settings.offline else "online",
            dir=folder.path,
            id=folder.run_id,
            resume="allow",
            name=folder.run_id,
            group=group,
            job_type="train",
            tags=list(tags),
            config=config,
            # A kill loses what is not flushed, and the default interval is 15 seconds.
            settings=wandb.Settings(
                x_transaction_log_flush_interval=1.0, silent=True, console="off", init_timeout=30.0
            ),
        )
    except wandb.Error as error:  # no login, or no network
        raise ConfigError(
            f"logger.offline={settings.offline}: W&B did not start ({str(error).splitlines()[0]}): run `wandb login` "
            "and see to the network, or use logger=wandb, which writes what `wandb sync` uploads later"
        ) from error
    return WandbLogger(experiment=run)


def finish_service_logger(logger: Logger | None, *, exit_code: int, summary: dict[str, float]) -> None:
    """Close W&B with the run's best metrics and the right exit code, also after a crash.

    Lightning leaves a crashed run open, which then shows as finished, and the next run of the process would write
    into it.
    """
    if isinstance(logger, WandbLogger) and is_main_process():
        logger.experiment.summary.update(summary)
        logger.experiment.finish(exit_code=exit_code)
    elif logger is not None:
        logger.finalize("success" if exit_code == 0 else "failed")
