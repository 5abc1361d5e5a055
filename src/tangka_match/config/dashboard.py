"""From a composed config to a W&B workspace: written as JSON, or pushed."""

import json
import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Self

import rich
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tangka_match.config.command_settings import check_settings
from tangka_match.config.explain import nearest
from tangka_match.errors import ConfigError

Names = Annotated[list[str], Field(min_length=1)]


class DashboardSettings(BaseModel):
    """Settings of a dashboard; ``conf/dashboard.yaml`` says what each one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entity: str | None
    project: str
    title: str
    groupby: str | None
    lines: Names
    bars: Names
    objective: str
    parameters: Names
    logarithmic: list[str]
    out: Path
    push: bool

    @model_validator(mode="after")
    def _agree(self) -> Self:
        for name in self.logarithmic:
            if name not in self.parameters:
                raise ValueError(
                    f"logarithmic names {name!r}, which is none of parameters.{nearest(name, self.parameters)}"
                )
        return self


def dashboard(config: DictConfig) -> None:
    """Build what ``config`` says; write the view as JSON, or send it if ``push`` is set.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    settings = check_settings(config, DashboardSettings, beside=("debug",))
    analysis = _builder()
    built = analysis.build_dashboard(**settings.model_dump(exclude={"entity", "out", "push"}))
    if settings.push:
        _say(f"pushed: {analysis.push_dashboard(built, settings.entity)}")
        return
    if settings.out.exists():
        raise ConfigError(f"out={settings.out} exists, and nothing is overwritten: give another file")
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(analysis.view_of(built), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    _say(f"{settings.out}: the view as W&B takes it; push=true makes it at W&B, after `wandb login`")


def _builder() -> ModuleType:
    """Import what needs the extra; the library says thank you in the terminal unless told not to."""
    os.environ.setdefault("WANDB_REPORT_API_DISABLE_MESSAGE", "true")
    try:
        return import_module("tangka_match.analysis.dashboard")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "wandb_workspaces":
            raise
        raise ConfigError(
            'a W&B workspace as code needs wandb-workspaces: pip install "tangka-match[dashboard]"'
        ) from error


def _say(line: str) -> None:
    rich.get_console().print(line, highlight=False, markup=False, soft_wrap=True)
