"""A run's name in a table of runs: what the command line set for it, in a few words."""

from collections.abc import Iterable

SAYS_NOTHING = ("paths", "logger", "data.root", "tags", "debug", "resume", "seeds", "ensemble", "sweep")
"""Settings, and all beneath them, that say where a run writes or who started it, and not what it does."""
LONGEST = 128  # that W&B shows


def short_name(overrides: Iterable[str], without: tuple[str, ...] = ()) -> str:
    """Name a run by its overrides; a setting goes by its last word where no other override has the same.

    Args:
        overrides: Of the command line, as Hydra takes them.
        without: Settings to leave out beside ``SAYS_NOTHING``: ``("seed",)`` names what several seeds repeat.

    Returns:
        At most 128 characters; empty where no override says anything.

    >>> command = ["+experiment=targeted", "optimizer.lr=1e-4", "seed=1", "paths.runs=/tmp/runs", "logger=csv"]
    >>> short_name(command), short_name(command, without=("seed",))
    ('targeted lr=1e-4 seed=1', 'targeted lr=1e-4')
    >>> short_name(["loss.curriculum.warmup_steps=10", "scheduler.warmup_steps=20", "~model.dropout"])
    'loss.curriculum.warmup_steps=10 scheduler.warmup_steps=20 ~dropout'
    """
    told: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if not _is_in(key, (*SAYS_NOTHING, *without)):
            told[key] = f"~{key}" if override.startswith("~") else value
    tails = [key.rpartition(".")[2] for key in told]
    words = []
    for (key, value), tail in zip(told.items(), tails, strict=True):
        shown = tail if tails.count(tail) == 1 else key
        if value == f"~{key}":
            words.append(f"~{shown}")
        else:
            words.append(value if key == "experiment" else f"{shown}={value}")
    name = " ".join(words)
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _is_in(key: str, settings: tuple[str, ...]) -> bool:
    return any(key == setting or key.startswith(f"{setting}.") for setting in settings)
