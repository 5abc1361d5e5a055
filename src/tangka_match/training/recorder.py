"""Records of a run: ledger, metrics table, experiment tracker, ``meta.json`` and ``result.json``."""

import json
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import Float
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor, nn

from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.files import write_text_completely, written_completely
from tangka_match.metrics import Ranks
from tangka_match.records.environment import describe_environment
from tangka_match.records.ledger import Ledger, read_ledger
from tangka_match.records.metrics_table import MetricsTable
from tangka_match.records.run_folder import RunFolder, config_hash
from tangka_match.records.working_time import WorkingTime, read_working_time
from tangka_match.retrieval.evaluation_files import write_ranks_table
from tangka_match.retrieval.metadata import METADATA_KEY, check_metadata, read_checkpoint
from tangka_match.training.callbacks.guard import Verdict
from tangka_match.training.continuation import Parent
from tangka_match.training.distributed import is_main_process, rank_zero_only
from tangka_match.training.loggers import LedgerLogger, finish_service_logger, keep_result, make_service_logger
from tangka_match.training.plan import RunPlan, SweepJob
from tangka_match.training.result import RunResult
from tangka_match.training.stopping import TERMINATED, StopRequest

logger = logging.getLogger(__name__)
INTERRUPTED = 128 + signal.SIGINT


class Recorder:
    """Writer of all records of a run: config, environment, events, metrics and results.

    Args:
        plan: Plan of the run, after ``setup`` of its data.
        folder: Run folder.
        job: Job of a sweep; ``None`` for a run outside a sweep.
        metadata: Metadata stored in every checkpoint of the run.
    """

    def __init__(self, plan: RunPlan, folder: RunFolder, job: SweepJob | None, metadata: dict[str, Any]) -> None:
        self.folder = folder
        self.result: RunResult | None = None
        self._plan, self._job, self._metadata = plan, job, metadata
        self._ledger = Ledger(folder.ledger)
        self._environment = describe_environment()  # read now, because the checkout may change during the run
        table = None if plan.settings.logger.kind == "none" else MetricsTable(folder.path / "metrics.csv")
        self._ledger_logger = LedgerLogger(self._ledger, table)
        self._service: Logger | None = None

    @property
    def loggers(self) -> list[Logger]:
        """Lightning loggers: that of the ledger, and that of the experiment tracker, if any."""
        return [self._ledger_logger] if self._service is None else [self._ledger_logger, self._service]

    def find_checkpoint(self) -> str | None:
        """Find the checkpoint that a resumed run continues from; ``None`` if none was written.

        Raises:
            ConfigError: If the run has finished.
            CheckpointError: If ``last.ckpt`` has been removed or belongs to another model, vocabulary or data set.
        """
        folder = self.folder
        events = read_ledger(folder.ledger) if folder.ledger.exists() else []
        ended = [event for event in events if event["event"] == "end"]
        if ended and ended[-1]["status"] == "finished":
            missing = folder.missing_outputs()
            if not missing:
                raise ConfigError(
                    f"resume={folder.run_id}: this run has finished; its checkpoints are in {folder.checkpoints}. "
                    f"To train longer: resume={folder.run_id} trainer.max_epochs=<more than before>"
                )
            logger.warning(
                "run %s has finished, but %s missing or damaged: best.ckpt is validated again",
                folder.run_id,
                ", ".join(missing) + (" is" if len(missing) == 1 else " are"),
            )
        if not folder.last.exists():
            written = [event["step"] for event in events if event["event"] == "checkpoint"]
            if written:
                raise CheckpointError(
                    f"{folder.last} does not exist, but run {folder.run_id} wrote it at step {written[-1]:,}: set "
                    "paths.checkpoints=<folder that holds the checkpoints now>, or start a new run"
                )
            logger.info("run %s has no last.ckpt yet: it starts again from its first step", folder.run_id)
            self._ledger_logger.rewind(0)
            return None
        checkpoint = read_checkpoint(folder.last)
        check_metadata(folder.last, checkpoint[METADATA_KEY], self._metadata)
        self._ledger_logger.rewind(checkpoint["global_step"])
        logger.info("run %s continues at step %d", folder.run_id, checkpoint["global_step"])
        return str(folder.last)

    def take_over(self, parent: Parent) -> str:
        """Copy the checkpoints of the run that this one continues, and return the one to start from.

        Raises:
            CheckpointError: If the data, the vocabulary or the model have changed since.
        """
        if is_main_process():
            parent.hand_over(self.folder, self._metadata)
        return str(parent.folder.last)

    @rank_zero_only
    def open(
        self, matcher: nn.Module, init_from: dict[str, Any] | None, *, resumed: bool, parent: Parent | None = None
    ) -> None:
        """Write the config, the environment and the first event.

        Args:
            matcher: Model of the run.
            init_from: Summary of the weights loaded by ``init_from``; ``None`` without it.
            resumed: Whether the run continues one that was started before.
            parent: Run that this new one continues; ``None`` if it starts from nothing.
        """
        if resumed:
            self._ledger.write("environment", **self._environment)
            return
        write_text_completely(self.folder.config, self._plan.config_yaml)
        _write_json(self.folder.path / "environment.json", self._environment)
        settings, job = self._plan.settings, self._job
        place: dict[str, Any] = {} if job is None else {"sweep": job.sweep, "job": job.number}
        if parent is not None:
            place["parent"] = parent.record()
        self._ledger.write(
            "start",
            run_id=self.folder.run_id,
            name=settings.name,
            tags=list(settings.tags),
            seed=settings.seed,
            config_hash=config_hash(self._plan.config),
            data_fingerprint=self._metadata["data_fingerprint"],
            git_commit=self._environment["git_commit"],
            sources=self._environment["sources"],
            num_parameters=count_parameters(matcher),
            init_from=init_from,
            **place,
            overrides=list(self._plan.overrides if job is None else job.overrides),
        )

    @contextmanager
    def running(self, stop: StopRequest) -> Iterator[None]:
        """Start the experiment tracker; at the end of the block, write the status to the ledger and the tracker.

        Args:
            stop: Request to stop of this process; a forced end is written to the ledger, too.

        Raises:
            SystemExit: With 143 on SIGTERM, with 130 on Ctrl-C.
        """
        status: str | None = None  # until the work is over; the tracker may then take long to upload it
        with stop.recorded_by(lambda forced: self.note("end", status=status or forced)):
            try:
                self._service = self._start_service()
                yield
                assert self.result is not None
                status = "pruned" if self.result.pruned else "finished"
            except SIGTERMException as end:
                status = "stopped"
                raise SystemExit(TERMINATED) from end
            except (KeyboardInterrupt, SystemExit) as end:  # Lightning turns Ctrl-C into an exit with 1
                status = "stopped"
                raise SystemExit(INTERRUPTED) from end
            except BaseException:
                status = "failed"
                raise
            finally:
                self._close(status or "failed")

    def note(self, event: str, **fields: Any) -> None:
        """Append an event to the ledger, on the main process only."""
        if is_main_process():
            self._ledger.write(event, **fields)

    @property
    def working_time(self) -> WorkingTime:
        """Working time of the run so far by phase; empty on other processes than the main one."""
        return read_working_time(read_ledger(self.folder.ledger) if is_main_process() else ())

    def report(self, verdict: Verdict) -> None:
        """Log a verdict of the guard, and append it to the ledger."""
        if is_main_process():
            logger.warning("guard (%s): %s", verdict.code, verdict.message)
        self.note("verdict", **verdict._asdict())

    def keep(self, result: RunResult, similarity: Float[Tensor, "I C"], ranks: Ranks) -> None:
        """Write the result of a run.

        Args:
            result: Result of ``best.ckpt``.
            similarity: Scores of ``best.ckpt`` on the held-out fold, if there is one, else on the validation split,
                (I, C).
            ranks: Ranks by ``similarity``.
        """
        self.result = result
        data = self._plan.data
        split = data.val if data.held_out is None else data.held_out
        if is_main_process():
            with written_completely(self.folder.ranks) as partial:
                write_ranks_table(partial, ranks, similarity, split)
            self._write_meta(result)
            if self._plan.draw_curves is not None:
                with written_completely(self.folder.curves) as partial:
                    self._plan.draw_curves(read_ledger(self.folder.ledger), partial)
        keep_result(self._service, self.folder, similarity, ranks, split)

    def _write_meta(self, result: RunResult) -> None:
        metadata = self._metadata
        content = {
            "run_id": self.folder.run_id,
            "name": self._plan.settings.name,
            "config_hash": config_hash(self._plan.config),
            "git_commit": self._environment["git_commit"],
            "best_epoch": result.best_epoch,
            "best_step": result.best_step,
            "total_steps": result.total_steps,
            "val_metrics": result.metrics,
            "val_ci95": {name: list(interval) for name, interval in result.intervals.items()},
            "num_parameters": result.num_parameters,
            "num_images": result.num_images,
            "num_captions": result.num_captions,
            **({} if result.held_out is None else {"held_out": result.held_out.record()}),
            "verdicts": [verdict._asdict() for verdict in result.verdicts],
            "data_fingerprint": metadata["data_fingerprint"],
            "vocabulary_fingerprint": metadata["vocabulary_fingerprint"],
            **{name: self._start_event().get(name) for name in ("init_from", "parent")},
            "feature_shape": [metadata["num_regions"], metadata["feature_dim"]],
            "config": self._plan.config,
        }
        _write_json(self.folder.checkpoints / "meta.json", content)
        _write_json(self.folder.path / "result.json", {k: v for k, v in content.items() if k != "config"})

    def _start_event(self) -> dict[str, Any]:
        return next((event for event in read_ledger(self.folder.ledger) if event["event"] == "start"), {})

    def _start_service(self) -> Logger | None:
        if not is_main_process():
            return None
        settings, start = self._plan.settings, self._start_event()
        model = str(self._plan.model["_target_"]).rsplit(".", 1)[-1]
        return make_service_logger(
            settings.logger,
            self.folder,
            name=settings.name,
            group=start.get("sweep", settings.name),
            tags=(settings.name, model, f"seed{settings.seed}", *settings.tags),
            overrides=start.get("overrides", ()),  # a resumed run keeps the overrides of its start
            config=self._plan.config,
        )

    def _close(self, status: str) -> None:
        ended_well = status in ("finished", "pruned")
        if not ended_well:
            command = f"resume={self.folder.run_id}" if self._job is None else "the same command"
            hint = f"; continue it with {command}" if status == "stopped" else ""
            logger.info("run %s has %s%s", self.folder.run_id, status, hint)
        summary = {} if self.result is None else {f"val/{name}": value for name, value in self.result.metrics.items()}
        if self.result is not None and self.result.held_out is not None:
            summary |= {f"held_out/{name}": value for name, value in self.result.held_out.metrics.items()}
        try:
            finish_service_logger(
                self._service, exit_code=0 if ended_well else 1, summary=summary if ended_well else {}
            )
        finally:  # the last thing that a run writes: whoever reads it finds everything else
            self.note("end", status=status)


def count_parameters(matcher: nn.Module) -> int:
    """Count the parameters of a model."""
    return sum(parameter.numel() for parameter in matcher.parameters())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text_completely(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
