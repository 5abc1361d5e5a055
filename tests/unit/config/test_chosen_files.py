import re
import shutil
from pathlib import Path

import pytest

from helpers.bad_input import assert_one_message
from helpers.cli import run_cli_in_process
from tangka_match.cli import run_cli, say
from tangka_match.config.chosen_files import check_chosen_files
from tangka_match.config.conf_folder import CONF_VARIABLE, conf_dir
from tangka_match.errors import ConfigError

HEADER = "# @package _global_\n"


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """Copy ``conf/``, and use the copy."""
    shutil.copytree(conf_dir(), tmp_path / "conf")
    monkeypatch.setenv(CONF_VARIABLE, str(tmp_path / "conf"))
    return tmp_path / "conf"


def run(*words):
    return run_cli_in_process(*words, main=lambda: run_cli(lambda config: say(str(config.seed)), "train", "config"))


FAULTS = {
    "not YAML": (f"{HEADER}seed: [1\n", r"mine\.yaml, line 3, column 1: cannot be read as YAML \(expected ',' or ']'"),
    "repeated": (f"{HEADER}seed: 1\nseed: 2\n", r"mine\.yaml, line 3, column 1: seed is set twice"),
    "tab": (f"{HEADER}seed:\t1\n\tx: 1\n", r"mine\.yaml, line 2, column 6: a tab; indent with spaces"),
    "byte order mark": (f"\ufeff{HEADER}seed: 1\n", r"mine\.yaml, line 1: a byte order mark hides the header"),
    "no header": ("# my experiment\nseed: 1\n", r"mine\.yaml, line 1: the header '# @package _global_' is missing"),
    "after a comment": (
        f"# aim\n{HEADER}seed: 1\n",
        r"mine\.yaml, line 1: the header '# @package _global_' is missing",
    ),
    "half a header": ("# @package\nseed: 1\n", r"mine\.yaml, line 1: the header '# @package _global_' is missing"),
    "late header": (f"seed: 1\n{HEADER}", r"mine\.yaml, line 1: the header '# @package _global_' is missing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_experiment_is_one_message_with_its_place(conf, fault):
    text, message = FAULTS[fault]
    (conf / "experiment/mine.yaml").write_text(text, encoding="utf-8")
    assert_one_message(run("+experiment=mine"), message)


def test_file_in_another_encoding(conf):
    (conf / "experiment/mine.yaml").write_bytes(f"{HEADER}\nname: 唐卡\n".encode("gb18030"))
    assert_one_message(run("+experiment=mine"), r"mine\.yaml, line 3: not UTF-8; save it as UTF-8")


@pytest.mark.parametrize("header", [HEADER, "#@package _global_\n", f"\n{HEADER}"])
def test_experiment_with_its_header_takes_effect(conf, header):
    (conf / "experiment/mine.yaml").write_text(f"{header}seed: 77\n", encoding="utf-8")
    assert run("+experiment=mine").stdout == "77\n"


def test_faulty_file_that_is_not_chosen_does_no_harm(conf):
    (conf / "experiment/draft.yaml").write_text("seed: [1\n", encoding="utf-8")
    assert run("+experiment=debug").code == 0


@pytest.mark.parametrize("experiment", sorted((Path(conf_dir()) / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_experiments_pass(experiment):
    check_chosen_files(experiment.parents[1], [f"+experiment={experiment.stem}", "-m", "seed=1"])


def test_every_experiment_of_a_sweep_is_checked(conf):
    (conf / "experiment/mine.yaml").write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape("mine.yaml, line 1")):
        check_chosen_files(conf, ["-m", "+experiment=debug,mine"])
