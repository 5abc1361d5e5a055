"""``dashboard`` through its command line, without network or login."""

import json

import pytest

from helpers.cli import run_cli_subprocess


@pytest.fixture
def dashboard(tmp_path):
    logged_out = {"HOME": str(tmp_path), "WANDB_API_KEY": "", "NETRC": str(tmp_path / "none")}
    return lambda *words: run_cli_subprocess(*words, module="dashboard", env=logged_out, cwd=tmp_path)


def test_view_is_written_as_json_for_the_swept_parameters(dashboard, tmp_path):
    done = dashboard("parameters=[loss.margin]", "logarithmic=[]", "out=views/margin.json")
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("views/margin.json: the view in W&B's format; push=true sends it")
    text = (tmp_path / "views" / "margin.json").read_text("utf-8")
    assert json.loads(text)["displayName"] == "Recipes side by side"
    assert "config:loss.value.margin" in text
    assert "optimizer" not in text


def test_push_without_login_gives_one_message(dashboard, tmp_path):
    done = dashboard("push=true")
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr.startswith("ConfigError: push=true: not logged in to W&B; run `wandb login` first")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "dashboard.json").exists()
