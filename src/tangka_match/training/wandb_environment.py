"""W&B's environment variables: they hold where neither the command line nor a config says otherwise."""

import os
from collections.abc import Sequence
from typing import Literal

from tangka_match.training.settings import LoggerSettings

DEFAULT_PROJECT = "tangka_match"
MAX_PROJECT_LENGTH, MAX_TAG_LENGTH = 128, 64
NOT_IN_A_PROJECT = r"/\#?%:"
Mode = Literal["online", "offline", "shared", "disabled"]
MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "shared": "shared",
    "disabled": "disabled",
}
"""Value of WANDB_MODE -> mode of a run."""


def project_of(given: str | None) -> str:
    """Return a W&B project: the given one, that of ``WANDB_PROJECT``, or ``tangka_match``."""
    return given if given is not None else os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT


def mode_of(settings: LoggerSettings) -> Mode:
    """Return the mode of a W&B run: that of ``logger.offline``, of ``WANDB_MODE``, or offline."""
    if settings.offline is not None:
        return "offline" if settings.offline else "online"
    return MODES[os.environ.get("WANDB_MODE") or "offline"]


def tags_of(tags: Sequence[str]) -> list[str]:
    """Return the tags of a run and those of ``WANDB_TAGS``, each once."""
    further = (tag.strip() for tag in os.environ.get("WANDB_TAGS", "").split(","))
    return list(dict.fromkeys([*tags, *(tag for tag in further if tag)]))


def name_or(variable: str, default: str) -> str:
    """Return the value of an environment variable, or a default if it is unset or empty."""
    return os.environ.get(variable) or default


def project_fault(setting: str, given: str | None) -> list[str]:
    r"""Return what W&B refuses in the name of a project, as a list of at most one message.

    Args:
        setting: Name of the setting, for messages.
        given: Its value; ``None`` for ``WANDB_PROJECT`` or the default.

    >>> project_fault("project", "a/b")
    ["project='a/b': a W&B project has 1 to 128 characters, and none of / \\ # ? % :; rename it"]
    """
    project = project_of(given)
    if 0 < len(project) <= MAX_PROJECT_LENGTH and not set(project) & set(NOT_IN_A_PROJECT):
        return []
    named = f"{setting}={project!r}" if given is not None else f"WANDB_PROJECT={project!r}"
    return [
        f"{named}: a W&B project has 1 to {MAX_PROJECT_LENGTH} characters, and none of "
        f"{' '.join(NOT_IN_A_PROJECT)}; rename it"
    ]


def wandb_faults(settings: LoggerSettings, tags: Sequence[str]) -> list[str]:
    """Find what W&B would refuse after the run folder exists.

    Args:
        settings: Settings of the logger; nothing is checked unless it is W&B.
        tags: Tags of the run, without those of ``WANDB_TAGS``.

    Returns:
        One message per fault.
    """
    if settings.kind != "wandb":
        return []
    faults = project_fault("logger.project", settings.project)
    mode = os.environ.get("WANDB_MODE") or "offline"
    if settings.offline is None and mode not in MODES:
        faults.append(f"WANDB_MODE={mode!r}: allowed are {', '.join(MODES)}; unset it, or set logger.offline")
    faults += [
        f"tag {tag!r} of tags, name or WANDB_TAGS: a W&B tag has 1 to {MAX_TAG_LENGTH} characters; shorten it, or use "
        "logger=csv"
        for tag in tags_of(tags)
        if not 0 < len(tag) <= MAX_TAG_LENGTH
    ]
    return faults
