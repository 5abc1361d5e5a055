"""Names of settings: those that determine the results of a run, and those that were moved, renamed or added.

Configs saved by earlier versions must stay readable, and hashes of settings (run ids, sweep digests) must stay
comparable with those of version 0.1. `with_current_targets` brings a saved config up to date; `with_first_names`
restores the names of version 0.1 before a config is hashed.
"""

import copy
from typing import Any

COMMAND_KEYS = ("resume", "sweep", "seeds", "ensemble", "members")
"""Top-level keys that determine how runs are launched; they are removed before a run is planned."""
NON_RUN_KEYS = (*COMMAND_KEYS, "debug")
"""Top-level keys that are allowed in a composed config although the schema of a run does not declare them."""
NON_DECISIVE_KEYS = ("paths", "logger", "resume", "debug", "tags")
"""Top-level keys that do not change the results of a run; hashes and comparisons of runs ignore them."""
SEED_KEYS = ("seed", "seeds")
"""Top-level keys in which repetitions of one recipe differ."""
SWEEP_PREFIXES = ("sweep=", "sweep.", "hydra.", "hydra/")
"""Prefixes of the overrides that configure a sweep, not its runs."""

MOVED_TARGETS = {
    "tangka_match.data.demo.writer.DemoWriter": "tangka_match.demo.writer.DemoWriter",
    "tangka_match.data.piece_tokenizer.PieceTokenizer": "tangka_match.data.tokenizer.PieceTokenizer",
    "tangka_match.training.schedules.warmup_constant": "tangka_match.training.optimisation.warmup_constant",
    "tangka_match.training.schedules.warmup_cosine": "tangka_match.training.optimisation.warmup_cosine",
    "tangka_match.training.schedules.warmup_step_decay": "tangka_match.training.optimisation.warmup_step_decay",
}
"""``_target_`` in version 0.1 -> current ``_target_``."""

RENAMED_SETTINGS: dict[str, str] = {}
"""Dotted name of a setting in version 0.1 -> current dotted name."""

ADDED_ARGUMENTS: dict[str, Any] = {
    "loss.reduction": "mean",
    "model.region_batch_norm": False,
    "model.clip": "relu",
    "model.hub_weight": 0.0,
    "model.sentence_kernel": "linear",
    "data.tokenizer.prefix": "",
    "callbacks.moving_average.warmup": True,
}
"""Dotted name of an argument, of a class that a ``_target_`` names, that version 0.1 did not have -> value.

At this value the argument is excluded from the hash: runs of version 0.1 behaved so, or it has no effect by default.
A saved config without the argument gets the default of its class.
"""

ADDED_SETTINGS: dict[str, Any] = {
    "data.character_fallback": False,
    "data.exclude": None,
    "data.folds": None,
    "data.fold": None,
    "data.fold_val_share": 0.1,
    "distillation.text_model": None,
    "distillation.text_prefix": "",
    "distillation.same_above": None,
    "training.monitor": "val/mean_r1",
    "training.compile": False,
    "training.tf32": True,
    "trainer.accumulate_grad_batches": 1,
    "trainer.limit_train_batches": None,
    "trainer.overfit_batches": 0,
    "trainer.fast_dev_run": False,
    "trainer.val_check_interval": None,
    "trainer.min_epochs": None,
    "trainer.min_steps": None,
    "trainer.max_time": None,
    "trainer.profiler": None,
    "trainer.detect_anomaly": False,
    "trainer.benchmark": None,
    "trainer.sync_batchnorm": False,
    "callbacks": {
        "early_stopping": {
            "_target_": "tangka_match.training.callbacks.EarlyStopping",
            "patience": "${training.early_stopping_patience}",
            "monitor": "${training.monitor}",
        },
        "moving_average": {
            "_target_": "tangka_match.training.callbacks.MovingAveraging",
            "decay": "${training.ema_decay}",
        },
        "tail_average": {
            "_target_": "tangka_match.training.callbacks.TailAveraging",
            "begin": "${training.swa_begin}",
        },
        "validation_lines": {"_target_": "tangka_match.training.callbacks.ValidationLines"},
        "progress_bar": {"_target_": "pytorch_lightning.callbacks.RichProgressBar"},
    },
}
"""Dotted name of a setting or group that version 0.1 did not have -> default value.

A setting at its default is excluded from the hash, and a saved config without it gets the default. The default of a
group is its complete composed content, with unresolved interpolations and without `ADDED_ARGUMENTS`.
"""

CHANGED_DEFAULTS: dict[str, tuple[Any, Any]] = {"data.num_workers": ("auto", 0), "data.pin_memory": ("auto", False)}
"""Dotted name of a setting without effect on results -> its default, and that of version 0.1, which is hashed."""

_FIRST_TARGETS = {new: old for old, new in MOVED_TARGETS.items()}
_MISSING = object()


def with_current_targets(node: Any) -> Any:
    """Return a copy of a plain config in which every moved ``_target_`` has its current name.

    >>> with_current_targets({"scheduler": {"_target_": "tangka_match.training.schedules.warmup_cosine"}})
    {'scheduler': {'_target_': 'tangka_match.training.optimisation.warmup_cosine'}}
    """
    return _with_targets(node, MOVED_TARGETS)


def with_first_names(config: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a plain config as version 0.1 would have written it.

    Moved targets and renamed settings get their names of version 0.1, and changed defaults their values; added settings
    are removed at their default.

    >>> with_first_names({"training": {"compile": False, "guard": True}})
    {'training': {'guard': True}}
    """
    first: dict[str, Any] = _with_targets(copy.deepcopy(config), _FIRST_TARGETS)
    for name, default in (ADDED_ARGUMENTS | ADDED_SETTINGS).items():
        if _get(first, name) == default:
            _pop(first, name)
    for name, (default, first_default) in CHANGED_DEFAULTS.items():
        if _get(first, name) == default:
            _set(first, name, first_default)
    for old, new in RENAMED_SETTINGS.items():
        if (value := _pop(first, new)) is not _MISSING:
            _set(first, old, value)
    return first


def _with_targets(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, dict):
        renamed = {key: _with_targets(value, names) for key, value in node.items()}
        if isinstance(target := node.get("_target_"), str):
            renamed["_target_"] = names.get(target, target)
        return renamed
    if isinstance(node, list):
        return [_with_targets(item, names) for item in node]
    return node


def _get(config: Any, name: str) -> Any:
    for part in name.split("."):
        if not isinstance(config, dict) or part not in config:
            return _MISSING
        config = config[part]
    return config


def _pop(config: dict[str, Any], name: str) -> Any:
    group, _, key = name.rpartition(".")
    holder = _get(config, group) if group else config
    return holder.pop(key, _MISSING) if isinstance(holder, dict) else _MISSING


def _set(config: dict[str, Any], name: str, value: Any) -> None:
    *groups, key = name.split(".")
    for group in groups:
        config = config.setdefault(group, {})
    config[key] = value
