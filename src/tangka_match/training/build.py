"""Builds the Lightning module and the callbacks of a run from its plan."""

import os
import shutil
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from tangka_match.data.captions import group_texts
from tangka_match.errors import ConfigError
from tangka_match.retrieval.metadata import make_metadata
from tangka_match.training.augmentation import build_augmentation
from tangka_match.training.callbacks import (
    AgreedStop,
    BestCheckpoint,
    ClosedFormStart,
    ExactResume,
    HardBatches,
    LastCheckpoint,
    LastValidation,
    PhaseTimer,
    Pruning,
    TrainingGuard,
    WordStart,
)
from tangka_match.training.distillation import Distillation
from tangka_match.training.loss_hooks import momentum_hooks
from tangka_match.training.module import MatchingModule, ValidationSet
from tangka_match.training.noisy_pairs import NoisyPairWeights
from tangka_match.training.plan import RunPlan
from tangka_match.training.recorder import Recorder
from tangka_match.training.stopping import StopRequest
from tangka_match.types import LengthReader, PretrainedMatcher


def build_module(
    plan: RunPlan, matcher: nn.Module, metadata: dict[str, Any], distillation: Distillation | None
) -> MatchingModule:
    """Build the Lightning module around a matcher, after ``setup`` of the data."""
    data, training = plan.data, plan.settings.training
    loss = plan.build_loss()
    hooks = momentum_hooks(matcher, loss)
    if training.noisy_pairs_from is not None:
        hooks.append(NoisyPairWeights([part.num_captions for part in data.train_sets], training.noisy_pairs_from))
    if distillation is not None:
        hooks.append(distillation)
    return MatchingModule(
        matcher,
        loss,
        optimizer=plan.optimizer,
        scheduler=plan.scheduler,
        augmentation=build_augmentation(plan.settings.augmentation, data.vocabulary, matcher),
        validation=ValidationSet(
            torch.as_tensor(data.val.caption_to_image), torch.as_tensor(group_texts(data.val.captions)), data.batch_size
        ),
        metadata=metadata,
        hooks=hooks,
        chunk_size=training.chunk_size,
        lr_multipliers=training.lr_multipliers,
    )


def build_metadata(plan: RunPlan, matcher: nn.Module, run_id: str) -> dict[str, Any]:
    """Build the metadata of every checkpoint, so that evaluation needs no other file."""
    data = plan.data
    own = matcher.checkpoint_arguments() if isinstance(matcher, PretrainedMatcher) else {}
    return make_metadata(
        name=plan.settings.name,
        run_id=run_id,
        model={**plan.model, **own},
        vocabulary=data.vocabulary.to_dict(),
        vocabulary_fingerprint=data.vocabulary.fingerprint(),
        tokenizer=data.tokenizer.settings(),
        max_tokens=data.max_tokens,
        num_regions=data.num_regions,
        feature_dim=data.feature_dim,
        data_fingerprint=data.fingerprint,
    )


def build_callbacks(
    plan: RunPlan,
    recorder: Recorder,
    guard: TrainingGuard,
    stop: StopRequest,
    pruning: Pruning | None,
    *,
    resumed: bool,
    progress_bar: bool,
) -> list[pl.Callback]:
    """Build all callbacks of a run.

    The group ``callbacks`` holds those that a user may choose. The others are part of every run, because its records,
    checkpoints and exact resume depend on them, or because the data, the model or the sweep require them.

    Args:
        plan: Plan of the run.
        recorder: Recorder, called when ``last.ckpt`` is written.
        guard: Guard, whose verdicts are part of the result.
        stop: Request to stop of this process.
        pruning: Pruning of a study's trial.
        resumed: Whether the run continues from a checkpoint.
        progress_bar: Whether to keep progress bars.
    """
    data, training, folder = plan.data, plan.settings.training, recorder.folder
    chosen = [c for c in plan.build_callbacks() if progress_bar or not isinstance(c, pl.callbacks.ProgressBar)]
    return [
        WordStart(data, resumed=resumed),
        ClosedFormStart(data, resumed=resumed),
        ExactResume(data.batch_sampler),
        AgreedStop(stop),
        guard,
        LastValidation(),
        BestCheckpoint(folder.checkpoints, training.monitor),
        LastCheckpoint(
            folder.last, training.checkpoint_every_n_steps, lambda step: recorder.note("checkpoint", step=step)
        ),
        *([HardBatches(data)] if data.hard_batches > 0 else []),
        *chosen,
        *([] if pruning is None else [pruning]),
        PhaseTimer(lambda time: recorder.note("phases", **time.record())),  # last, so that phases hold the callbacks
    ]


def compile_matcher(matcher: nn.Module) -> None:
    """Compile the methods of a matcher with ``torch.compile``, in place.

    The methods are compiled and not the module, so that the keys of a checkpoint stay the same. Compilation itself
    happens at the first call.

    Args:
        matcher: Model that satisfies ``Matcher``.
    """
    for name in ("encode_images", "encode_texts", "similarity"):
        setattr(matcher, name, torch.compile(getattr(matcher, name)))
    if isinstance(matcher, LengthReader):
        matcher.reads_lengths = False  # other numbers in each batch would be compiled again


def check_compiler() -> None:
    """Check that ``torch.compile`` finds a C++ compiler.

    Raises:
        ConfigError: If there is none.
    """
    wanted = os.environ.get("CXX", "g++")
    if shutil.which(wanted) is None and shutil.which("clang++") is None:
        raise ConfigError(
            f"training.compile=true: torch.compile needs a C++ compiler, and {wanted} is not on the PATH; install g++, "
            "or set training.compile=false"
        )
