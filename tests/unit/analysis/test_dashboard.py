import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import wandb
from wandb_workspaces.workspaces import Workspace

from helpers.configs import compose_config
from tangka_match.analysis.dashboard import build_dashboard, push_dashboard, view_of
from tangka_match.dashboard import LOGARITHMIC
from tangka_match.errors import ConfigError

GOLDEN = Path(__file__).parents[2] / "golden" / "dashboard.json"
SMALL = {
    "project": "p",
    "title": "t",
    "groupby": None,
    "lines": ["val/loss"],
    "bars": ["val/t2i_r1", "val/t2i_r5"],
    "objective": "val/t2i_r1",
    "parameters": ["optimizer.lr", "seed"],
    "logarithmic": ["optimizer.lr"],
}


def without_ids(value):
    """Remove the ids of panels and run sets, which the W&B library draws at random."""
    if isinstance(value, dict):
        return {key: without_ids(item) for key, item in value.items() if key not in ("__id__", "id")}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


def panels_of(view):
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return [(panel["viewType"], panel["config"]) for section in sections for panel in section["panels"]]


def test_view_of_default_settings_equals_golden():
    """After an intended change, write ``without_ids(view)`` to the file again and inspect the difference."""
    config = compose_config(config_name="dashboard")
    logarithmic = [name for name in config["parameters"] if name in LOGARITHMIC]
    given = {name: config[name] for name in SMALL} | {"project": "tangka_match", "logarithmic": logarithmic}
    view = view_of(build_dashboard(**given))
    assert without_ids(view) == json.loads(GOLDEN.read_text("utf-8"))


def test_view_has_all_panels():
    panels = panels_of(view_of(build_dashboard(**SMALL)))
    assert [kind for kind, _ in panels] == [
        "Run History Line Plot",
        "Bar Chart",
        "Bar Chart",
        "Parallel Coordinates Plot",
        "Scatter Plot",
        "Scatter Plot",
    ]
    line, bar, _, coordinates, scatter, linear = (config for _, config in panels)
    assert (line["metrics"], line["xAxis"]) == (["val/loss"], "trainer/global_step")
    assert bar["metrics"] == ["val/t2i_r1"]
    assert [(c["accessor"], c.get("log")) for c in coordinates["columns"]] == [
        ("config:optimizer.value.lr", True),
        ("config:seed.value", False),
        ("summary:val/t2i_r1", None),
    ]
    assert (scatter["xAxis"], scatter["yAxis"]) == ("config:optimizer.value.lr", "summary:val/t2i_r1")
    assert (scatter["xAxisLogScale"], linear["xAxisLogScale"]) == (True, False)


def test_grouped_runs_show_mean_and_standard_deviation():
    view = view_of(build_dashboard(**(SMALL | {"groupby": "recipe"})))
    for _, config in panels_of(view)[:3]:
        assert (config["groupBy"], config["groupAgg"], config["groupArea"]) == ("recipe.value", "mean", "stddev")
    (runs,) = view["spec"]["section"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["recipe.value"]


def test_runs_are_ungrouped_by_default():
    view = view_of(build_dashboard(**SMALL))
    assert not any("groupBy" in config for _, config in panels_of(view))
    assert view["spec"]["section"]["runSets"][0]["grouping"] == []


def test_exception_push_without_login(monkeypatch):
    monkeypatch.setattr(wandb, "login", lambda **settings: False)
    with pytest.raises(ConfigError, match=r"push=true: not logged in to W&B; run `wandb login`"):
        push_dashboard(build_dashboard(**SMALL), None)


def test_exception_login_without_a_default_entity(monkeypatch):
    monkeypatch.setattr(wandb, "login", lambda **settings: True)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(default_entity=None))
    with pytest.raises(ConfigError, match=r"push=true: .*has no default entity; set entity=<user or team>"):
        push_dashboard(build_dashboard(**SMALL), None)


def test_exception_wandb_error(monkeypatch):
    def refuse(self):
        raise wandb.errors.CommError("permission denied\nmore")

    monkeypatch.setattr(wandb, "login", lambda **settings: True)
    monkeypatch.setattr(Workspace, "save", refuse)
    with pytest.raises(
        ConfigError, match=r"did not accept the view \(permission denied\); .*whether us has the project p"
    ):
        push_dashboard(build_dashboard(**SMALL), "us")


def test_pushed_view_belongs_to_the_given_entity(monkeypatch):
    saved = []
    monkeypatch.setattr(wandb, "login", lambda **settings: True)
    monkeypatch.setattr(Workspace, "save", lambda self: saved.append((self.entity, self.project)))
    monkeypatch.setattr(Workspace, "url", property(lambda self: f"https://wandb.ai/{self.entity}"))
    assert push_dashboard(build_dashboard(**SMALL), "us") == "https://wandb.ai/us"
    assert saved == [("us", "p")]
