import pytest

from helpers.held_lock import held_lock
from helpers.run_folders import write_run
from tangka_match.errors import ConfigError
from tangka_match.records.run_files import find_run_folders, read_run_files
from tangka_match.records.run_folder import RunFolder


def test_runs_are_found_at_any_depth_but_not_inside_run_folders(tmp_path):
    write_run(tmp_path / "sweeps" / "one", "b")
    inner = write_run(tmp_path, "a")
    write_run(inner / "wandb", "not-a-run")
    assert [path.name for path in find_run_folders(tmp_path)] == ["a", "b"]
    assert find_run_folders(inner) == [inner]


@pytest.mark.parametrize(("name", "message"), [("nowhere", "nowhere: no such folder"), (".", "no run here")])
def test_folder_without_runs_is_refused(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        find_run_folders(tmp_path / name)


def test_read_run_files_of_finished_run(tmp_path):
    files = read_run_files(write_run(tmp_path, "a", ranks=True))
    assert files.events[0]["event"] == "start"
    assert files.events[-1] == {**files.events[-1], "event": "end", "status": "finished"}
    assert files.config["loss"]["margin"] == 0.2
    assert files.result["best_step"] == 40
    assert (files.skipped, files.held, files.has_ranks, files.problems) == (0, False, True, ())


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("config.yaml", "a: [1, 2", "config.yaml: while parsing"),
        ("config.yaml", "- 1\n- 2\n", "config.yaml: not a mapping"),
        ("config.yaml", "!!python/object/apply:os.system ['touch pwned']", "config.yaml: could not determine"),
        ("result.json", '{"val_metrics": {', "result.json: "),
        ("result.json", "[]", "result.json: not a mapping"),
    ],
)
def test_damaged_file_is_reported_and_the_rest_is_read(tmp_path, name, content, problem):
    folder = write_run(tmp_path, "a")
    (folder / name).write_text(content)
    files = read_run_files(folder)
    (found,) = files.problems
    assert found.startswith(problem)
    assert len(files.events) > 10
    assert not (tmp_path / "pwned").exists()


def test_run_that_has_just_started_has_no_problems(tmp_path):
    folder = write_run(tmp_path, "a", status=None, steps=0)
    (folder / "config.yaml").unlink()
    files = read_run_files(folder)
    assert (files.config, files.result, files.problems) == ({}, {}, ())


def test_held_lock_is_detected_and_not_taken(tmp_path):
    folder = write_run(tmp_path, "a", status=None)
    with held_lock(folder):
        assert read_run_files(folder).held
        assert read_run_files(folder).held
    assert not read_run_files(folder).held
    RunFolder("a", folder, folder).lock().close()  # raises if reading had kept it
