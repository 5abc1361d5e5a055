"""Names in saved configs that have changed since, in one table: runs and sweeps of earlier versions keep working.

A config written by an earlier version names classes where they were then. `with_current_targets` brings it up to date;
`with_first_targets` goes the other way, because hashes of settings (run ids, sweep digests) were made with the names of
the first version and must stay comparable.
"""

from typing import Any

MOVED_TARGETS = {
    "tangka_match.data.demo.writer.DemoWriter": "tangka_match.demo.writer.DemoWriter",
    "tangka_match.training.schedules.warmup_constant": "tangka_match.training.optimisation.warmup_constant",
    "tangka_match.training.schedules.warmup_cosine": "tangka_match.training.optimisation.warmup_cosine",
    "tangka_match.training.schedules.warmup_step_decay": "tangka_match.training.optimisation.warmup_step_decay",
}
"""``_target_`` of version 0.1: where it is now."""

_FIRST_TARGETS = {new: old for old, new in MOVED_TARGETS.items()}


def with_current_targets(node: Any) -> Any:
    """Return a copy of a plain config in which every moved ``_target_`` has its present name.

    >>> with_current_targets({"scheduler": {"_target_": "tangka_match.training.schedules.warmup_cosine"}})
    {'scheduler': {'_target_': 'tangka_match.training.optimisation.warmup_cosine'}}
    """
    return _with_targets(node, MOVED_TARGETS)


def with_first_targets(node: Any) -> Any:
    """Return a copy of a plain config in which every moved ``_target_`` has the name of the first version."""
    return _with_targets(node, _FIRST_TARGETS)


def _with_targets(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, dict):
        renamed = {key: _with_targets(value, names) for key, value in node.items()}
        if isinstance(target := node.get("_target_"), str):
            renamed["_target_"] = names.get(target, target)
        return renamed
    if isinstance(node, list):
        return [_with_targets(item, names) for item in node]
    return node
