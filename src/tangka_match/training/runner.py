"""``train``: from a checked plan to a trained checkpoint, a run folder and its metrics."""

import json
import logging
import os
import signal
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl
import rich
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import SIGTERMException

from tangka_match.data.captions import group_texts
from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.metrics import bootstrap_intervals, retrieval_ranks, summarise
from tangka_match.ops import bound_primitive_caches
from tangka_match.records.environment import describe_environment
from tangka_match.records.ledger import Ledger, read_ledger
from tangka_match.records.metrics_table import MetricsTable
from tangka_match.records.run_folder import RUN_ID_VARIABLE, RunFolder, config_hash, create_run_folder
from tangka_match.records.run_log import log_to, quiet_libraries
from tangka_match.retrieval.evaluation_files import write_ranks_table
from tangka_match.retrieval.metadata import PASSPORT_KEY, check_passport, make_passport, read_checkpoint
from tangka_match.training.augmentation import build_augmentation
from tangka_match.training.callbacks import (
    BestCheckpoint,
    ClosedFormStart,
    EarlyStopping,
    ExactResume,
    HardBatches,
    LastCheckpoint,
    LastValidation,
    MovingAveraging,
    Pruning,
    TailAveraging,
    TrainingGuard,
    ValidationLines,
    WordStart,
)
from tangka_match.training.callbacks.checkpoints import AtomicCheckpointIO
from tangka_match.training.callbacks.guard import Verdict
from tangka_match.training.distillation import Distillation, load_distillation
from tangka_match.training.distributed import is_main_process, processes_started, rank_zero_only, strategy_for
from tangka_match.training.encoding import validation_similarity
from tangka_match.training.initial_weights import check_start, read_start, start_from
from tangka_match.training.loggers import (
    LedgerLogger,
    finish_service_logger,
    keep_result,
    make_service_logger,
)
from tangka_match.training.loss_hooks import momentum_hooks
from tangka_match.training.module import MatchingModule, ValidationSet
from tangka_match.training.noisy_pairs import NoisyPairWeights
from tangka_match.training.plan import RunPlan, SweepJob, check_schedule
from tangka_match.training.process import environment_variable, keep_freed_memory
from tangka_match.training.result import RunResult
from tangka_match.types import PretrainedMatcher

logger = logging.getLogger(__name__)
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def train(plan: RunPlan, resume: RunFolder | None = None, job: SweepJob | None = None) -> RunResult:
    """Train, or go on with a stopped run, and validate the best checkpoint.

    The data are read and checked before the run folder is made, so that bad input leaves nothing behind.

    Args:
        plan: The checked run.
        resume: The folder of the stopped run; ``None`` starts a new one.
        job: Its place in a sweep, if it is part of one.

    Raises:
        TangkaMatchError: For whatever a user can mend; the run folder keeps everything up to then.
        SystemExit: With 143 when asked to end by SIGTERM, after ``last.ckpt`` is written, unless in a validation, which
            is then repeated; with 130 on Ctrl-C.
    """
    settings = plan.settings
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on a GPU
    keep_freed_memory()
    bound_primitive_caches()
    pl.seed_everything(settings.seed, workers=True, verbose=False)
    plan.data.prepare_data()
    start = read_start(plan, resume)
    plan.data.setup("fit")
    check_schedule(plan)
    distillation = load_distillation(settings.distillation, plan.distillation_loss, plan.data.train)
    word_axes = {} if start is None else check_start(start, plan)
    folder = resume or create_run_folder(
        settings.paths.runs,
        settings.paths.checkpoints,
        settings.name,
        config_hash(plan.config),
        is_main=is_main_process(),
        processes=processes_started(),
    )
    # The processes that Lightning starts find the run id there; the next run of this one does not.
    with environment_variable(RUN_ID_VARIABLE, folder.run_id), quiet_libraries(), ExitStack() as stack:
        if is_main_process():
            stack.enter_context(folder.lock())
            stack.enter_context(log_to(folder.path / "run.log"))
        run = _Run(plan, folder, job, distillation)
        if start is not None:
            run.started_from = start_from(start, word_axes, run.module.matcher, plan)
        return run.execute(resumed=resume is not None)


class _Run:
    """The parts of one run, wired."""

    def __init__(
        self, plan: RunPlan, folder: RunFolder, job: SweepJob | None, distillation: Distillation | None
    ) -> None:
        data, settings = plan.data, plan.settings
        self.plan, self.folder, self.data, self.job = plan, folder, data, job
        self.pruning = None if job is None or job.report is None else Pruning(job.report)
        self.ledger = Ledger(folder.ledger)
        self.started_from: dict[str, Any] | None = None
        self.environment = describe_environment()  # now: the checkout may have moved on when the run ends
        matcher = plan.build_model(**data.model_sizes)
        own = matcher.checkpoint_arguments() if isinstance(matcher, PretrainedMatcher) else {}
        self.passport = make_passport(
            name=settings.name,
            run_id=folder.run_id,
            model={**plan.model, **own},
            vocabulary=data.vocabulary.to_dict(),
            vocabulary_fingerprint=data.vocabulary.fingerprint(),
            tokenizer=data.tokenizer.settings(),
            max_tokens=data.max_tokens,
            num_regions=data.num_regions,
            feature_dim=data.feature_dim,
            data_fingerprint=data.fingerprint,
        )
        loss, begin = plan.build_loss(), settings.training.noisy_pairs_from
        hooks = momentum_hooks(matcher, loss)
        if begin is not None:
            hooks.append(NoisyPairWeights([part.num_captions for part in data.train_sets], begin))
        if distillation is not None:
            hooks.append(distillation)
        self.module = MatchingModule(
            matcher,
            loss,
            optimizer=plan.optimizer,
            scheduler=plan.scheduler,
            augmentation=build_augmentation(settings.augmentation, data.vocabulary, matcher),
            validation=ValidationSet(
                torch.as_tensor(data.val.caption_to_image),
                torch.as_tensor(group_texts(data.val.captions)),
                data.batch_size,
            ),
            metadata=self.passport,
            hooks=hooks,
            chunk_size=settings.training.chunk_size,
            lr_multipliers=settings.training.lr_multipliers,
        )
        self.guard = TrainingGuard(self._report)
        self.best = BestCheckpoint(folder.checkpoints)
        table = None if settings.logger.kind == "none" else MetricsTable(folder.path / "metrics.csv")
        self.records = LedgerLogger(self.ledger, table)

    def execute(self, *, resumed: bool) -> RunResult:
        """Train, then validate the best checkpoint; the ledger and W&B learn how it ended."""
        checkpoint = self._last_checkpoint() if resumed else None
        self._open_records(resumed=resumed)
        service, status, summary = None, "failed", {}
        try:
            service = self._start_service()
            trainer = self._trainer(service, resumed=checkpoint is not None)
            logger.info("run %s: %s", self.folder.run_id, self._describe())
            trainer.fit(self.module, datamodule=self.data, ckpt_path=checkpoint)
            self.guard.conclude(trainer.global_step)
            result = self._result(trainer, service)
            status = "pruned" if result.pruned else "finished"
            summary = {f"val/{name}": value for name, value in result.metrics.items()}
        except SIGTERMException as stop:
            status = "stopped"
            raise SystemExit(TERMINATED) from stop
        except (KeyboardInterrupt, SystemExit) as stop:  # Lightning makes of Ctrl-C an exit with 1
            status = "stopped"
            raise SystemExit(INTERRUPTED) from stop
        finally:
            ended_well = status in ("finished", "pruned")
            if not ended_well:  # what to do about a failure is in its own message
                again = f"resume={self.folder.run_id}" if self.job is None else "the same command"
                hint = f"; go on with {again}" if status == "stopped" else ""
                logger.info("run %s has %s%s", self.folder.run_id, status, hint)
            try:
                self._note("end", status=status)
            finally:  # the disk may be full
                finish_service_logger(service, exit_code=0 if ended_well else 1, summary=summary)
        return result

    def _last_checkpoint(self) -> str | None:
        events = read_ledger(self.folder.ledger) if self.folder.ledger.exists() else []  # killed in its first moment
        ended = [e for e in events if e["event"] == "end"]
        if ended and ended[-1]["status"] == "finished":
            raise ConfigError(
                f"resume={self.folder.run_id}: this run has finished; its checkpoints are in {self.folder.checkpoints}"
            )
        if not self.folder.last.exists():
            written = [e["step"] for e in events if e["event"] == "checkpoint"]
            if written:
                raise CheckpointError(
                    f"{self.folder.last} is not there, though run {self.folder.run_id} wrote one at step "
                    f"{written[-1]:,}: give paths.checkpoints=<folder that holds the checkpoints now>, or start a new "
                    "run"
                )
            logger.info("run %s has no last.ckpt yet: it starts again from its first step", self.folder.run_id)
            self.records.rewind(0)
            return None
        checkpoint = read_checkpoint(self.folder.last)
        check_passport(self.folder.last, checkpoint[PASSPORT_KEY], self.passport)
        self.records.rewind(checkpoint["global_step"])
        logger.info("run %s goes on at step %d", self.folder.run_id, checkpoint["global_step"])
        return str(self.folder.last)

    @rank_zero_only
    def _open_records(self, *, resumed: bool) -> None:
        if resumed:
            self.ledger.write("environment", **self.environment)
            return
        self.folder.config.write_text(self.plan.config_yaml, encoding="utf-8")
        _write_json(self.folder.path / "environment.json", self.environment)
        settings = self.plan.settings
        self.ledger.write(
            "start",
            run_id=self.folder.run_id,
            name=settings.name,
            tags=list(settings.tags),
            seed=settings.seed,
            config_hash=config_hash(self.plan.config),
            data_fingerprint=self.data.fingerprint,
            git_commit=self.environment["git_commit"],
            sources=self.environment["sources"],
            num_parameters=self._num_parameters(),
            init_from=self.started_from,
            **self._place_in_sweep(),
        )

    def _start_event(self) -> dict[str, Any]:
        return next((event for event in read_ledger(self.folder.ledger) if event["event"] == "start"), {})

    def _place_in_sweep(self) -> dict[str, Any]:
        if self.job is None:
            return {"overrides": list(self.plan.overrides)}
        return {"sweep": self.job.sweep, "job": self.job.number, "overrides": list(self.job.overrides)}

    def _start_service(self) -> Logger | None:
        if not is_main_process():
            return None
        settings = self.plan.settings
        tags = (
            settings.name,
            str(self.plan.model["_target_"]).rsplit(".", 1)[-1],
            f"seed{settings.seed}",
            *settings.tags,
        )
        start = self._start_event()
        return make_service_logger(
            settings.logger,
            self.folder,
            name=settings.name,
            group=start.get("sweep", settings.name),
            tags=tags,
            overrides=start.get("overrides", ()),  # of a resumed run: those that it was started with
            config=self.plan.config,
        )

    def _trainer(self, service: Logger | None, *, resumed: bool) -> pl.Trainer:
        settings = self.plan.settings.trainer
        bar = settings.progress_bar and rich.get_console().is_terminal
        return pl.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=strategy_for(settings.strategy, self.module.loss, float(self.plan.model.get("thaw_at") or 0)),
            precision=settings.precision,
            max_epochs=settings.max_epochs,
            max_steps=settings.max_steps,
            gradient_clip_val=settings.gradient_clip_val,
            deterministic=settings.deterministic,
            log_every_n_steps=settings.log_every_n_steps,
            check_val_every_n_epoch=settings.val_every_n_epochs,
            num_sanity_val_steps=0,  # a part of the gallery has no recall
            use_distributed_sampler=False,  # the batch sampler shares out the batches itself
            callbacks=self._callbacks(bar=bar, resumed=resumed),
            logger=[self.records] if service is None else [self.records, service],
            plugins=[AtomicCheckpointIO()],
            enable_progress_bar=bar,
            enable_model_summary=False,
        )

    def _callbacks(self, *, bar: bool, resumed: bool) -> list[pl.Callback]:
        training = self.plan.settings.training
        callbacks: list[pl.Callback] = [
            WordStart(self.data, resumed=resumed),
            ClosedFormStart(self.data, resumed=resumed),
            ExactResume(self.data.batch_sampler),
            self.guard,
            LastValidation(),
            ValidationLines(),
            self.best,
            LastCheckpoint(
                self.folder.last, training.checkpoint_every_n_steps, lambda step: self._note("checkpoint", step=step)
            ),
        ]
        if self.data.hard_batches > 0:
            callbacks.append(HardBatches(self.data))
        if training.early_stopping_patience is not None:
            callbacks.append(EarlyStopping(training.early_stopping_patience))
        if training.ema_decay is not None:
            callbacks.append(MovingAveraging(training.ema_decay))
        if training.swa_begin is not None:
            callbacks.append(TailAveraging(training.swa_begin))
        if self.pruning is not None:
            callbacks.append(self.pruning)
        if bar:
            callbacks.append(pl.callbacks.RichProgressBar())
        return callbacks

    def _num_parameters(self) -> int:
        return sum(p.numel() for p in self.module.matcher.parameters())

    def _describe(self) -> str:
        data = self.data
        return (
            f"{type(self.module.matcher).__name__}, {self._num_parameters():,} parameters, "
            f"{len(data.vocabulary):,} words; {data.summary}"
        )

    def _result(self, trainer: pl.Trainer, service: Logger | None) -> RunResult:
        best = read_checkpoint(self.folder.best)
        self.module.load_state_dict(best["state_dict"])
        similarity = validation_similarity(self.module, self.data, trainer.strategy.root_device)
        caption_to_image = torch.as_tensor(self.data.val.caption_to_image)
        ranks = retrieval_ranks(similarity, caption_to_image)
        result = RunResult(
            folder=self.folder,
            metrics=summarise(ranks),
            intervals=bootstrap_intervals(ranks, caption_to_image),
            num_images=len(ranks.i2t),
            num_captions=len(ranks.t2i),
            best_epoch=int(best["epoch"]),
            best_step=int(best["global_step"]),
            total_steps=trainer.global_step,
            verdicts=self.guard.verdicts,
            num_parameters=self._num_parameters(),
            pruned=self.pruning is not None and self.pruning.pruned,
        )
        if is_main_process():
            write_ranks_table(self.folder.ranks, ranks, similarity, self.data.val)
        self._write_meta(result)
        keep_result(service, self.folder, similarity, ranks, self.data.val)
        return result

    @rank_zero_only
    def _write_meta(self, result: RunResult) -> None:
        meta = {
            "run_id": self.folder.run_id,
            "name": self.plan.settings.name,
            "config_hash": config_hash(self.plan.config),
            "git_commit": self.environment["git_commit"],
            "best_epoch": result.best_epoch,
            "best_step": result.best_step,
            "total_steps": result.total_steps,
            "val_metrics": result.metrics,
            "val_ci95": {name: list(interval) for name, interval in result.intervals.items()},
            "num_parameters": result.num_parameters,
            "num_images": result.num_images,
            "num_captions": result.num_captions,
            "verdicts": [verdict._asdict() for verdict in result.verdicts],
            "data_fingerprint": self.passport["data_fingerprint"],
            "vocabulary_fingerprint": self.passport["vocabulary_fingerprint"],
            "init_from": self._start_event().get("init_from"),
            "feature_shape": [self.passport["num_regions"], self.passport["feature_dim"]],
            "config": self.plan.config,
        }
        _write_json(self.folder.checkpoints / "meta.json", meta)
        _write_json(self.folder.path / "result.json", {k: v for k, v in meta.items() if k != "config"})

    def _report(self, verdict: Verdict) -> None:
        if is_main_process():
            logger.warning("guard (%s): %s", verdict.code, verdict.message)
        self._note("verdict", **verdict._asdict())

    @rank_zero_only
    def _note(self, event: str, **fields: Any) -> None:
        self.ledger.write(event, **fields)


def _write_json(path: Any, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
