import pytest

from tangka_match.errors import ConfigError
from tangka_match.sweeps.finished_runs import sweep_runs
from tangka_match.sweeps.folder import SweepFolder


@pytest.fixture
def runs(tmp_path):
    """Write a sweep of two jobs, the first of which ended with two runs; the second is running."""
    folder = tmp_path / "sweeps" / "mine"
    folder.mkdir(parents=True)
    manifest = SweepFolder(folder).manifest
    manifest.write("sweep", sweep="mine", digest="d", kind="grid")
    for number in (0, 1):
        manifest.write("job", job=number, overrides=[f"data.fold={number}"])
        manifest.write("start", job=number)
    manifest.write("end", job=0, status="finished", metrics={}, runs=["run-a", "run-b"])
    return tmp_path


def end_second(runs, status):
    SweepFolder(runs / "sweeps" / "mine").manifest.write("end", job=1, status=status, metrics={}, runs=["run-c"])


def test_runs_of_all_jobs_by_id_or_folder(runs):
    end_second(runs, "finished")
    expected = [runs / name for name in ("run-a", "run-b", "run-c")]
    assert sweep_runs("folds", "mine", runs) == expected
    assert sweep_runs("folds", str(runs / "sweeps" / "mine"), runs / "elsewhere") == expected


def test_damaged_line_of_the_manifest_is_named(runs, caplog):
    end_second(runs, "finished")
    manifest = runs / "sweeps" / "mine" / "manifest.jsonl"
    with manifest.open("a") as file:
        file.write('{"event": "end", "job": 1}\n')
    assert len(sweep_runs("folds", "mine", runs)) == 3
    assert f"1 unreadable line skipped: {manifest}" in caplog.text


@pytest.mark.parametrize("status", [None, "failed"])
def test_unfinished_sweep_is_an_error(runs, status):
    if status is not None:
        end_second(runs, status)
    message = rf"folds=mine: this sweep has not finished \(job 1 is {status or 'running'}\); repeat its command"
    with pytest.raises(ConfigError, match=message):
        sweep_runs("folds", "mine", runs)


def test_other_names_are_not_sweeps(runs):
    assert sweep_runs("folds", "run-a", runs) == []
    assert sweep_runs("folds", str(runs / "run-a"), runs) == []
