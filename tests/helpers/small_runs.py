"""Training runs of a tiny matcher on a tiny data set; one second each, built as ``train`` builds them."""

from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from helpers.precomp import write_dataset
from helpers.stub_matchers import PooledMatcher
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.losses import TripletMarginLoss
from tangka_match.retrieval.metadata import make_metadata
from tangka_match.training.augmentation import RegionWordDrop
from tangka_match.training.callbacks import EarlyStopping, MovingAveraging, TailAveraging, ValidationLines
from tangka_match.training.loss_hooks import momentum_hooks
from tangka_match.training.module import MatchingModule, ValidationSet
from tangka_match.training.optimisation import warmup_constant
from tangka_match.training.plan import RunPlan
from tangka_match.training.settings import AugmentationSettings, RunSettings, TrainingSettings

STEPS_PER_EPOCH = 3
METADATA = make_metadata(
    name="small",
    run_id="small",
    model={"_target_": "helpers.stub_matchers.PooledMatcher"},
    vocabulary={"word2idx": {}},
    vocabulary_fingerprint="words",
    tokenizer={},
    max_tokens=80,
    num_regions=4,
    feature_dim=8,
    data_fingerprint="data",
)
BATCH_SIZE = 4
NO_AUGMENTATION = dict.fromkeys(AugmentationSettings.model_fields, 0.0)
TRAINER = {
    "accelerator": "cpu",
    "devices": 1,
    "num_nodes": 1,
    "strategy": "auto",
    "precision": "32-true",
    "max_epochs": 2,
    "max_steps": -1,
    "gradient_clip_val": None,
    "deterministic": True,
    "log_every_n_steps": 1,
    "accumulate_grad_batches": 1,
    "limit_train_batches": None,
    "overfit_batches": 0,
    "fast_dev_run": False,
    "val_every_n_epochs": 1,
    "progress_bar": False,
}


class StoppedError(Exception):
    """Raised by `Stop`."""


class Stop(pl.Callback):
    """Callback that ends a run after ``after`` steps, as a crash does."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        if trainer.global_step == self.after:
            raise StoppedError


def small_data(root: Path) -> RegionTextDataModule:
    """Return a data module of twelve training and six validation pairs; an epoch has three steps."""
    return RegionTextDataModule(str(write_dataset(root / "data")), batch_size=BATCH_SIZE)


def small_settings(
    root: Path,
    *,
    ema_decay: float | None = None,
    early_stopping_patience: int | None = None,
    init_from: Path | None = None,
    swa_begin: float | None = None,
    chunk_size: int | None = None,
    monitor: str = "val/mean_r1",
    checkpoint_every_n_steps: int = 100,
    **trainer: Any,
) -> RunSettings:
    """Return the settings of a run that writes to ``root``; ``trainer`` overrides ``TRAINER``."""
    return RunSettings.model_validate(
        {
            "name": "small",
            "tags": ("unit",),
            "seed": 0,
            "init_from": init_from,
            "paths": {"data": root / "data", "runs": root / "runs", "checkpoints": root / "checkpoints"},
            "augmentation": NO_AUGMENTATION,
            "distillation": {
                "teachers": [],
                "text_model": None,
                "text_prefix": "",
                "same_above": None,
                "weight": 0.0,
                "loss": None,
            },
            "training": {
                "monitor": monitor,
                "early_stopping_patience": early_stopping_patience,
                "ema_decay": ema_decay,
                "swa_begin": swa_begin,
                "chunk_size": chunk_size,
                "lr_multipliers": None,
                "noisy_pairs_from": None,
                "checkpoint_every_n_steps": checkpoint_every_n_steps,
                "tf32": True,
                "compile": False,
            },
            "trainer": TRAINER | trainer,
            "logger": {"kind": "none"},
        }
    )


def build_matcher(vocab_size: int, feature_dim: int, num_regions: int) -> PooledMatcher:
    """Build a ``PooledMatcher`` from the arguments of every model."""
    return PooledMatcher(feature_dim, 4, vocab_size)


def small_plan(root: Path, **settings: Any) -> RunPlan:
    """Return the plan of a run of two epochs, with the arguments of ``small_settings``."""
    checked = small_settings(root, **settings)
    return RunPlan(
        settings=checked,
        build_callbacks=lambda: _callbacks(checked.training),
        config={"seed": 0},
        config_yaml="seed: 0\n",
        data=small_data(root),
        model={"_target_": "helpers.stub_matchers.PooledMatcher"},
        build_model=build_matcher,
        build_loss=lambda: TripletMarginLoss(0.2, 0.0),
        optimizer=partial(torch.optim.SGD, lr=0.5),
        scheduler=partial(warmup_constant, warmup_steps=0),
        draw_curves=lambda events, path: path.write_text(f"{len(list(events))} events", encoding="utf-8"),
    )


def _callbacks(training: TrainingSettings) -> list[pl.Callback]:
    """Build the callbacks of ``conf/callbacks/default.yaml``."""
    callbacks: list[pl.Callback] = [ValidationLines()]
    if training.early_stopping_patience is not None:
        callbacks.append(EarlyStopping(training.early_stopping_patience, training.monitor))
    if training.ema_decay is not None:
        callbacks.append(MovingAveraging(training.ema_decay))
    if training.swa_begin is not None:
        callbacks.append(TailAveraging(training.swa_begin))
    return callbacks


def small_module(
    matcher: torch.nn.Module | None = None,
    loss: torch.nn.Module | None = None,
    *,
    val_caption_to_image: torch.Tensor | None = None,
    val_text_group: torch.Tensor | None = None,
    val_block: int = BATCH_SIZE,
    **settings: Any,
) -> MatchingModule:
    """Return a module, by default with a ``PooledMatcher`` and a triplet loss on all negatives."""
    matcher = PooledMatcher(8, 4, 60) if matcher is None else matcher
    loss = TripletMarginLoss(0.2, 0.0) if loss is None else loss
    rows = torch.arange(6) if val_caption_to_image is None else val_caption_to_image
    texts = torch.arange(len(rows)) if val_text_group is None else val_text_group
    arguments: dict[str, Any] = {
        "optimizer": partial(torch.optim.SGD, lr=0.5),
        "scheduler": partial(warmup_constant, warmup_steps=0),
        "augmentation": RegionWordDrop(0.0, 0.0),
        "validation": ValidationSet(rows, texts, val_block),
        "metadata": METADATA,
        "hooks": momentum_hooks(matcher, loss),
    }
    return MatchingModule(matcher, loss, **arguments | settings)


def quiet_trainer(**settings: Any) -> pl.Trainer:
    """Return a CPU trainer that neither prints nor writes files."""
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    quiet["enable_checkpointing"] = any(isinstance(c, pl.callbacks.Checkpoint) for c in settings.get("callbacks", []))
    return pl.Trainer(
        accelerator="cpu",
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        **(quiet | settings),
    )
