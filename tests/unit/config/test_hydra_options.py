import pytest
from omegaconf import OmegaConf

from helpers.bad_input import assert_one_message, contents
from helpers.cli import run_cli_in_process
from tangka_match.cli import command
from tangka_match.config.hydra_options import check_folders, checked_words, config_options
from tangka_match.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["seed=1", "-m", "model=vse,scan_i2t"], ["-m", "seed=1", "model=vse,scan_i2t"]),
        (["a=1", "--config-dir", "a=1", "b=2"], ["--config-dir", "a=1", "a=1", "b=2"]),
        (["seed=1", "--hydra-help"], ["--hydra-help"]),
        (["--help", "hydra.run.dir=x"], ["--help", "hydra.run.dir=x"]),
        (["hydra.job.chdir=false", "seed=1"], ["hydra.job.chdir=false", "seed=1"]),
        (["-sc", "install=bash"], ["-sc", "install=bash"]),
        (["seed=1", "--info"], ["--info=all", "seed=1"]),
        (["-i", "plugins", "seed=1"], ["--info=plugins", "seed=1"]),
        (["-cd", "all", "seed=1", "-i", "all"], ["-cd", "all", "--info=all", "seed=1"]),
        (["--info", "-cd", "all", "seed=1"], ["--info=all", "-cd", "all", "seed=1"]),
        (['hydra.run.dir="."', "hydra.job.name=x"], ['hydra.run.dir="."', "hydra.job.name=x"]),
    ],
)
def test_options_come_first(words, expected):
    assert checked_words(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-cp", "a", "seed=1", "-cn", "b", "-m"], ["--config-path=a", "--config-name=b"]),
        (["seed=1", "--config-path=a", "--config-dir", "c"], ["--config-path=a", "--config-dir=c"]),
        (["-m", "seed=1,2"], []),
    ],
)
def test_all_options_that_name_a_config_are_found(words, expected):
    assert config_options(words) == expected


CONTRADICTIONS = [
    (["--resolve"], r"--resolve .* needs --cfg job or --help"),
    (["--package", "model"], r"--package model .* needs --cfg job"),
    (["-m", "--cfg", "job"], r"-m and --cfg: .*leave out -m"),
    (["--info", "all", "-m"], r"-m and --info: only one of them"),
    (["--experimental-rerun", "x.pickle"], r"--experimental-rerun x\.pickle reads a pickle"),
    (["--shell-completion"], r"--shell-completion needs one of install=<shell>"),
    (["hydra.run.dir=x"], r"hydra\.run\.dir=x: .* set paths\.runs"),
    (["-m", "+hydra.sweep.dir=x", "hydra.sweep.subdir=y"], r"\+hydra\.sweep\.dir=x hydra\.sweep\.subdir=y: "),
    (["hydra.job.chdir=true"], r"hydra\.job\.chdir=true: .*relative paths begin at the folder"),
]


@pytest.mark.parametrize(("words", "message"), CONTRADICTIONS, ids=[" ".join(words) for words, _ in CONTRADICTIONS])
def test_contradiction_is_one_message(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    seen = []
    for given in (words, ["seed=1", *words], [*words, "seed=1"]):
        done = run_cli_in_process(*given, main=command("train", seen.append, "config"))
        assert_one_message(done, message)
    assert seen == []
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("words", [("--cfg", "job", "seed=41"), ("seed=41", "--cfg", "job"), ("seed=41", "-c", "job")])
def test_config_is_shown_in_any_order(words):
    done = run_cli_in_process(*words, main=command("train", print, "config"))
    assert (done.code, done.stderr) == (0, "")
    assert "\nseed: 41\n" in done.stdout


@pytest.mark.parametrize("words", [("--hydra-help", "seed=1"), ("seed=1", "--hydra-help")])
def test_help_of_hydra_ignores_settings(words):
    done = run_cli_in_process(*words, main=command("train", print, "config"))
    assert (done.code, done.stderr) == (0, "")
    assert "hydra/sweeper: basic, grid, study" in done.stdout


DEFAULT = {"run": {"dir": "."}, "job": {"chdir": None}, "sweep": {"dir": "runs/sweeps", "subdir": "jobs"}}


@pytest.mark.parametrize(
    ("name", "value", "root"),
    [
        ("run.dir", "x", None),
        ("job.chdir", True, None),
        ("sweep.dir", "x", "runs/sweeps"),
        ("sweep.subdir", "x", "runs/sweeps"),
    ],
)
def test_config_that_moves_a_folder_is_refused(name, value, root):
    hydra = OmegaConf.create(DEFAULT)
    check_folders(hydra, root)
    OmegaConf.update(hydra, name, value)
    with pytest.raises(ConfigError, match=rf"hydra\.{name}={value}: "):
        check_folders(hydra, root)
