import sys

import pytest

from helpers.configs import compose_config
from tangka_match.dashboard import build_dashboard
from tangka_match.errors import ConfigError


def run(*overrides):
    build_dashboard(compose_config(*overrides, config_name="dashboard"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "logarithmic=[optimizer.rl]",
            r"logarithmic: 'optimizer.rl' is not in parameters\. Did you mean optimizer.lr",
        ),
        ("lines=[]", r"lines=\[\]: List should have at least 1 item"),
        ("push=perhaps", "push='perhaps': Input should be a valid boolean"),
    ],
)
def test_wrong_setting_is_named(override, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        run(override, f"out={tmp_path / 'view.json'}")
    assert not (tmp_path / "view.json").exists()


def test_existing_file_is_not_overwritten(tmp_path):
    out = tmp_path / "view.json"
    out.write_text("mine")
    with pytest.raises(ConfigError, match=r"out: .*view\.json already exists and is not overwritten"):
        run(f"out={out}")
    assert out.read_text() == "mine"


def test_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "tangka_match.analysis.dashboard", raising=False)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(ConfigError, match=r'needs wandb-workspaces: pip install "tangka-match\[dashboard\]"'):
        run(f"out={tmp_path / 'view.json'}")
