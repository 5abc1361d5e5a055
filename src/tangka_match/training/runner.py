"""``train``: from a checked plan to a trained checkpoint, a run folder and its metrics."""

import logging
import os
from contextlib import ExitStack
from typing import NamedTuple

import pytorch_lightning as pl
import rich
import torch
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.data.tokenizer import tokenizer_from_settings
from tangka_match.metrics import Ranks, confidence_intervals, retrieval_ranks, summarise
from tangka_match.ops import bound_primitive_caches, computes_bfloat16, tf32
from tangka_match.records.run_folder import RUN_ID_VARIABLE, RunFolder, config_hash, create_run_folder
from tangka_match.records.run_log import log_to, quiet_libraries
from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint
from tangka_match.training.build import build_callbacks, build_metadata, build_module, compile_matcher
from tangka_match.training.callbacks import Pruning, TrainingGuard
from tangka_match.training.continuation import FreshPatience, check_continuation, read_parent
from tangka_match.training.distillation import load_distillation
from tangka_match.training.distributed import is_main_process, processes_started
from tangka_match.training.encoding import validation_similarity
from tangka_match.training.initial_weights import check_start, read_start, start_from
from tangka_match.training.loss_scaling import check_steps_taken
from tangka_match.training.module import MatchingModule
from tangka_match.training.plan import (
    RunPlan,
    SweepJob,
    check_negatives,
    check_schedule,
    length_warnings,
    planned_length,
)
from tangka_match.training.process_launcher import check_main_port, connect
from tangka_match.training.process_state import environment_variable, explained_out_of_memory, keep_freed_memory
from tangka_match.training.recorder import Recorder, count_parameters
from tangka_match.training.result import HeldOutResult, RunResult
from tangka_match.training.stopping import StopRequest
from tangka_match.training.trainer import build_trainer, strategy_for

logger = logging.getLogger(__name__)


def train(
    plan: RunPlan, resume: RunFolder | None = None, job: SweepJob | None = None, parent: RunFolder | None = None
) -> RunResult:
    """Train a model, or continue a stopped run, and validate its best checkpoint.

    The data are read and checked before the run folder is made, so that bad input leaves no files behind.

    Args:
        plan: The checked run.
        resume: Folder of the stopped run; ``None`` starts a new one.
        job: Job of a sweep; ``None`` for a run outside a sweep.
        parent: Folder of the run that a new, longer run continues from; see ``training.continuation``.

    Raises:
        TangkaMatchError: On invalid user input, or if the run cannot continue; files already written are kept.
        SystemExit: With 143 on SIGTERM, after ``last.ckpt`` is written (an interrupted validation is repeated on
            resume); with 130 on Ctrl-C.
    """
    with StopRequest().listening() as stop:
        return _train(plan, stop, resume, job, parent)


def _train(
    plan: RunPlan, stop: StopRequest, resume: RunFolder | None, job: SweepJob | None, parent: RunFolder | None
) -> RunResult:
    _prepare_process(plan.settings.seed)
    check_main_port(plan.settings.trainer)
    plan.data.prepare_data()
    origin = None if parent is None else read_parent(parent)
    earlier = resume or parent
    start = read_start(plan, earlier)
    if earlier is not None and earlier.last.exists():  # the dictionary may have changed since the run was started
        plan.data.tokenizer = tokenizer_from_settings(read_checkpoint(earlier.last)[METADATA_KEY]["tokenizer"])
    plan.data.setup("fit")
    check_schedule(plan)
    check_negatives(plan, processes_started())
    distillation = load_distillation(
        plan.settings.distillation, plan.distillation_loss, plan.data.train, plan.data.train_sets
    )
    word_axes = {} if start is None else check_start(start, plan)
    if origin is not None:
        check_continuation(origin, plan)
    folder = resume or _new_folder(plan)
    # Processes that Lightning starts find the run id in the environment.
    with environment_variable(RUN_ID_VARIABLE, folder.run_id), quiet_libraries(), ExitStack() as stack:
        if is_main_process():
            stack.enter_context(folder.lock())
            stack.enter_context(log_to(folder.path / "run.log"))
        matcher = plan.build_model(**plan.data.model_sizes)
        metadata = build_metadata(plan, matcher, folder.run_id)
        module = build_module(plan, matcher, metadata, distillation)
        init_from = None if start is None else start_from(start, word_axes, matcher, plan)
        recorder = Recorder(plan, folder, job, metadata)
        checkpoint = recorder.find_checkpoint() if resume is not None else None
        if origin is not None:
            checkpoint = recorder.take_over(origin)
        recorder.open(matcher, init_from, resumed=resume is not None, parent=origin)
        with recorder.running(stop):
            return _fit(plan, module, recorder, checkpoint, stop=stop, job=job, is_longer=origin is not None)


def _prepare_process(seed: int) -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on a GPU
    keep_freed_memory()
    bound_primitive_caches()
    pl.seed_everything(seed, workers=True, verbose=False)


def _new_folder(plan: RunPlan) -> RunFolder:
    settings = plan.settings
    return create_run_folder(
        settings.paths.runs,
        settings.paths.checkpoints,
        settings.name,
        config_hash(plan.config),
        is_main=is_main_process(),
        processes=processes_started(),
    )


def _fit(
    plan: RunPlan,
    module: MatchingModule,
    recorder: Recorder,
    checkpoint: str | None,
    *,
    stop: StopRequest,
    job: SweepJob | None,
    is_longer: bool,
) -> RunResult:
    """Train, then validate the best checkpoint."""
    settings, data = plan.settings.trainer, plan.data
    guard = TrainingGuard(recorder.report)
    reporting = None if job is None else job.reporting
    pruning = None if reporting is None else Pruning(reporting.report, reporting.metric)
    progress_bar = settings.progress_bar and rich.get_console().is_terminal
    trainer = build_trainer(
        settings,
        strategy=strategy_for(settings.strategy, module.loss, float(plan.model.get("thaw_at") or 0)),
        steps_per_epoch=planned_length(plan, processes_started()).steps_per_epoch,
        callbacks=[
            *build_callbacks(
                plan, recorder, guard, stop, pruning, resumed=checkpoint is not None, progress_bar=progress_bar
            ),
            *([FreshPatience()] if is_longer else []),
        ],
        loggers=recorder.loggers,
        folder=recorder.folder.path,
    )
    connect(trainer, stop)
    matcher = module.matcher
    logger.info(
        "run %s: %s, %s parameters, %s words; %s",
        recorder.folder.run_id,
        type(matcher).__name__,
        f"{count_parameters(matcher):,}",
        f"{len(data.vocabulary):,}",
        data.summary,
    )
    length = planned_length(plan, trainer.world_size)
    for warning in length_warnings(plan, length):
        logger.warning(warning)
    _warn_of_emulation(plan.settings.trainer.precision, trainer.strategy.root_device)
    data.set_total_epochs(length.epochs)
    data.batch_sampler.repeats_first_epoch = bool(settings.overfit_batches)
    if plan.settings.training.compile:
        compile_matcher(matcher)
    with tf32(allowed=plan.settings.training.tf32), explained_out_of_memory(), stop.training():
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    check_steps_taken(trainer)
    guard.conclude(trainer.global_step)
    return _validate_best(plan, module, recorder, trainer, guard, pruned=pruning is not None and pruning.pruned)


def _warn_of_emulation(precision: str, device: torch.device) -> None:
    if precision == "bf16-mixed" and not computes_bfloat16(device):
        kind, other = ("GPU", ", or 16-mixed") if device.type == "cuda" else ("CPU", "")
        logger.warning(
            "trainer.precision=bf16-mixed: this %s has no bfloat16 instructions, and emulating them is slower than "
            "float32, on a CPU many times: set trainer.precision=32-true%s",
            kind,
            other,
        )


def _validate_best(
    plan: RunPlan,
    module: MatchingModule,
    recorder: Recorder,
    trainer: pl.Trainer,
    guard: TrainingGuard,
    *,
    pruned: bool,
) -> RunResult:
    """Compute the metrics of ``best.ckpt`` on the validation split and the held-out fold, and record them.

    ``ranks.csv`` and the examples of the tracker are those of the held-out fold, if there is one.
    """
    best = read_checkpoint(recorder.folder.best)
    module.load_state_dict(best["state_dict"])
    device, data = trainer.strategy.root_device, plan.data
    scored = _score(validation_similarity(module, data, device), data.val)
    metrics, intervals = scored.metrics, scored.intervals
    num_images, num_captions = data.val.num_images, data.val.num_captions
    held_out = None
    if data.held_out is not None:
        assert data.folds is not None
        assert data.fold is not None
        scored = _score(validation_similarity(module, data, device, held_out=True), data.held_out)
        sizes = (data.held_out.num_images, data.held_out.num_captions)
        held_out = HeldOutResult(data.folds, data.fold, scored.metrics, scored.intervals, *sizes)
    result = RunResult(
        folder=recorder.folder,
        metrics=metrics,
        intervals=intervals,
        num_images=num_images,
        num_captions=num_captions,
        best_epoch=int(best["epoch"]),
        best_step=int(best["global_step"]),
        total_steps=trainer.global_step,
        verdicts=guard.verdicts,
        num_parameters=count_parameters(module.matcher),
        working_time=recorder.working_time,
        pruned=pruned,
        held_out=held_out,
    )
    recorder.keep(result, scored.similarity, scored.ranks)
    return result


class _Scored(NamedTuple):
    similarity: Tensor
    ranks: Ranks
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]


def _score(similarity: Tensor, split: Split) -> _Scored:
    caption_to_image = torch.as_tensor(split.caption_to_image)
    ranks = retrieval_ranks(similarity, caption_to_image)
    return _Scored(similarity, ranks, summarise(ranks), confidence_intervals(ranks, caption_to_image))
