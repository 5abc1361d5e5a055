import pytest

from helpers.records import record_of
from helpers.run_folders import write_run
from tangka_match.analysis.runs.selection import select_runs, sort_runs
from tangka_match.errors import ConfigError


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path, "a", r1=30.0, began=3.0, config={"name": "targeted", "tags": ["x"], "loss": {"margin": 0.3}})
    write_run(tmp_path, "b", r1=10.0, began=1.0, config={"name": "targeted_2", "loss": {"margin": "auto"}}, sweep="s")
    write_run(tmp_path, "c", steps=0, status="failed", began=2.0, config={"name": "sgraf", "loss": {"margin": 0.1}})
    return [record_of(tmp_path / name) for name in "abc"]


def ids(runs):
    return "".join(run.run_id for run in runs)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "abc"),
        ({"name": "targeted"}, "a"),
        ({"name": "targeted*"}, "ab"),
        ({"tag": "x"}, "a"),
        ({"sweep": "s"}, "b"),
        ({"status": "failed"}, "c"),
        ({"name": "targeted*", "status": "failed"}, ""),
    ],
)
def test_a_run_has_to_fit_everything(runs, wanted, found):
    assert ids(select_runs(runs, **wanted)) == found


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("started", "bca"),
        ("-started", "acb"),
        ("-mean_r1", "abc"),
        ("mean_r1", "bac"),
        ("loss.margin", "cab"),
        ("status", "cab"),
    ],
)
def test_runs_without_the_value_come_last(runs, order, found):
    assert ids(sort_runs(runs, order)) == found


def test_exception_nothing_of_that_name(runs):
    with pytest.raises(ConfigError, match=r"sort=-margin: no run has it; allowed: started.*loss\.margin"):
        sort_runs(runs, "-margin")
