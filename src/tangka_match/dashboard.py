"""Write the W&B workspace that compares runs as JSON, or push it.

python -m tangka_match.dashboard 'parameters=[optimizer.lr,loss.margin]' [push=true]
"""

import json
import os
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Self

from omegaconf import DictConfig
from pydantic import Field, model_validator

from tangka_match.cli import check_is_new, command, read_settings, say
from tangka_match.config.explain import nearest, raise_faults
from tangka_match.errors import ConfigError
from tangka_match.files import write_text_completely
from tangka_match.settings import Settings
from tangka_match.training.wandb_environment import project_fault, project_of

LOGARITHMIC = ("optimizer.lr", "optimizer.weight_decay")
"""Settings with a logarithmic axis if ``logarithmic`` is not set."""
Names = Annotated[list[str], Field(min_length=1)]


class DashboardSettings(Settings):
    """Settings of a dashboard; see ``conf/dashboard.yaml``."""

    entity: str | None
    project: str | None
    title: str
    groupby: str | None
    lines: Names
    bars: Names
    objective: str
    parameters: Names
    logarithmic: list[str] | None
    out: Path
    push: bool

    @model_validator(mode="after")
    def _check_logarithmic(self) -> Self:
        for name in self.logarithmic or ():
            if name not in self.parameters:
                raise ValueError(f"logarithmic: {name!r} is not in parameters.{nearest(name, self.parameters)}")
        return self


def build_dashboard(config: DictConfig) -> None:
    """Build the workspace and write it as JSON; push it to W&B if ``push`` is set.

    Raises:
        TangkaMatchError: On invalid settings, without wandb-workspaces, or if W&B refuses the push.
    """
    settings = read_settings(config, DashboardSettings, groups=("debug",))
    raise_faults(project_fault("project", settings.project))
    analysis = _import_builder()
    logarithmic = settings.logarithmic
    given = settings.model_dump(exclude={"entity", "out", "push"}) | {
        "project": project_of(settings.project),
        "logarithmic": [n for n in settings.parameters if n in LOGARITHMIC] if logarithmic is None else logarithmic,
    }
    built = analysis.build_dashboard(**given)
    if settings.push:
        say(f"pushed: {analysis.push_dashboard(built, settings.entity)}")
        return
    check_is_new(settings.out)
    write_text_completely(settings.out, json.dumps(analysis.view_of(built), ensure_ascii=False, indent=1) + "\n")
    say(f"{settings.out}: the view in W&B's format; push=true sends it to W&B, after `wandb login`")


def _import_builder() -> ModuleType:
    os.environ.setdefault("WANDB_REPORT_API_DISABLE_MESSAGE", "true")  # no greeting of wandb-workspaces
    try:
        return import_module("tangka_match.analysis.dashboard")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "wandb_workspaces":
            raise
        raise ConfigError(
            'a W&B workspace as code needs wandb-workspaces: pip install "tangka-match[dashboard]"'
        ) from error


main = command("dashboard", build_dashboard)

if __name__ == "__main__":
    main()
