"""W&B workspace for comparing runs, defined in code."""

from collections.abc import Sequence
from typing import Any

import wandb
from wandb_workspaces import expr
from wandb_workspaces.reports.v2.interface import (
    BarPlot,
    Config,
    LinePlot,
    ParallelCoordinatesPlot,
    ParallelCoordinatesPlotColumn,
    ScatterPlot,
    SummaryMetric,
)
from wandb_workspaces.workspaces.interface import (
    RunsetSettings,
    Section,
    SectionLayoutSettings,
    Workspace,
    WorkspaceSettings,
)

from tangka_match.errors import ConfigError

STEP = "trainer/global_step"
MAX_RUNS = 100
"""Most runs per panel; the default of W&B is 10, which hides most of a sweep."""


def build_dashboard(
    *,
    project: str,
    title: str,
    groupby: str | None,
    lines: Sequence[str],
    bars: Sequence[str],
    objective: str,
    parameters: Sequence[str],
    logarithmic: Sequence[str],
) -> Workspace:
    """Build a workspace: line plots, bars of the best values, parallel coordinates, and one scatter plot per parameter.

    Nothing is sent to W&B.

    Args:
        project: W&B project of the runs.
        title: Title of the workspace.
        groupby: Setting by which runs are grouped into one line or bar, their mean with its standard deviation;
            ``None`` shows each run.
        lines: Metrics plotted over optimizer steps.
        bars: Metrics of the best checkpoint, one panel each.
        objective: Metric that the parameters are plotted against.
        parameters: Swept settings.
        logarithmic: Parameters with a logarithmic axis.
    """
    return Workspace(
        entity="",  # set when the workspace is pushed
        project=project,
        name=title,
        sections=[
            _section("Curves", [_line(metric, groupby) for metric in lines]),
            _section("Best checkpoints", [_bars(metric, groupby) for metric in bars]),
            _section(
                f"Settings against {objective}",
                [
                    _coordinates(objective, parameters, logarithmic),
                    *(_scatter(objective, name, log=name in logarithmic) for name in parameters),
                ],
            ),
        ],
        settings=WorkspaceSettings(x_axis=STEP, max_runs=MAX_RUNS),
        runset_settings=RunsetSettings(
            groupby=[] if groupby is None else [expr.Config(groupby)],
            order=[expr.Ordering(expr.Summary(objective), ascending=False)],
            pinned_columns=[f"summary:{metric}" for metric in dict.fromkeys([objective, *bars])],
        ),
    )


def view_of(dashboard: Workspace) -> dict[str, Any]:
    """Return the view that would be sent to W&B, as plain values."""
    view = dashboard._to_model()  # no public API; the version of the library is pinned
    spec = view.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"project": view.project, "displayName": view.display_name, "spec": spec}


def push_dashboard(dashboard: Workspace, entity: str | None) -> str:
    """Save a dashboard as a new view of its W&B project.

    Args:
        dashboard: Workspace from `build_dashboard`.
        entity: User or team that owns the project; ``None`` for the default of the login.

    Returns:
        URL of the view.

    Raises:
        ConfigError: If no user is logged in, or W&B refuses the view or cannot be reached.
    """
    try:
        if not wandb.login(prompt=False, verify=False):
            raise ConfigError(
                "push=true: not logged in to W&B; run `wandb login` first. Without push=true the view is "
                "written as JSON, and nothing is sent"
            )
        owner = entity or wandb.Api().default_entity
        if owner is None:
            raise ConfigError("push=true: this W&B login has no default entity; set entity=<user or team>")
        dashboard.entity = owner
        dashboard.save()
    except wandb.Error as error:
        raise ConfigError(
            f"push=true: W&B did not accept the view ({str(error).splitlines()[0]}); check `wandb login`, the network, "
            f"and whether {entity or 'your entity'} has the project {dashboard.project}"
        ) from error
    return str(dashboard.url)


def _section(name: str, panels: Sequence[Any]) -> Section:
    return Section(
        name=name, panels=list(panels), is_open=True, layout_settings=SectionLayoutSettings(columns=3, rows=2)
    )


def _line(metric: str, groupby: str | None) -> LinePlot:
    plot = LinePlot(title=metric, x=STEP, y=[metric], max_runs_to_show=MAX_RUNS)
    return plot if groupby is None else _grouped(plot, groupby)


def _bars(metric: str, groupby: str | None) -> BarPlot:
    plot = BarPlot(title=metric, metrics=[metric], max_runs_to_show=MAX_RUNS, max_bars_to_show=MAX_RUNS)
    return plot if groupby is None else _grouped(plot, groupby)


def _grouped(plot: Any, groupby: str) -> Any:
    plot.groupby, plot.groupby_aggfunc, plot.groupby_rangefunc = Config(groupby), "mean", "stddev"
    return plot


def _coordinates(objective: str, parameters: Sequence[str], logarithmic: Sequence[str]) -> ParallelCoordinatesPlot:
    columns = [
        ParallelCoordinatesPlotColumn(Config(name), display_name=name, log=name in logarithmic) for name in parameters
    ]
    return ParallelCoordinatesPlot(
        columns=[*columns, ParallelCoordinatesPlotColumn(SummaryMetric(objective), display_name=objective)]
    )


def _scatter(objective: str, parameter: str, *, log: bool) -> ScatterPlot:
    return ScatterPlot(title=parameter, x=Config(parameter), y=SummaryMetric(objective), log_x=log)
