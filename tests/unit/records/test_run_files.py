import pytest

from helpers.held_lock import held_lock
from helpers.run_folders import write_run
from tangka_match.records.run_files import find_run_folders, read_run_files
from tangka_match.records.run_folder import RunFolder


def test_runs_are_found_at_any_depth_and_nothing_below_a_run(tmp_path):
    write_run(tmp_path / "sweeps" / "one", "b")
    inner = write_run(tmp_path, "a")
    write_run(inner / "wandb", "not-a-run")
    assert [path.name for path in find_run_folders(tmp_path)] == ["a", "b"]
    assert find_run_folders(inner) == [inner]


def test_a_whole_run(tmp_path):
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
        ("config.yaml", "- 1\n- 2\n", "config.yaml: holds no mapping"),
        ("config.yaml", "!!python/object/apply:os.system ['touch pwned']", "config.yaml: could not determine"),
        ("result.json", '{"val_metrics": {', "result.json: "),
        ("result.json", "[]", "result.json: holds no mapping"),
    ],
)
def test_a_damaged_file_is_noted_and_the_rest_is_read(tmp_path, name, content, problem):
    folder = write_run(tmp_path, "a")
    (folder / name).write_text(content)
    files = read_run_files(folder)
    (found,) = files.problems
    assert found.startswith(problem)
    assert len(files.events) > 10
    assert not (tmp_path / "pwned").exists()


def test_a_run_that_has_only_begun_is_no_problem(tmp_path):
    folder = write_run(tmp_path, "a", status=None, steps=0)
    (folder / "config.yaml").unlink()
    files = read_run_files(folder)
    assert (files.config, files.result, files.problems) == ({}, {}, ())


def test_a_held_lock_is_seen_and_left_alone(tmp_path):
    folder = write_run(tmp_path, "a", status=None)
    with held_lock(folder):
        assert read_run_files(folder).held
        assert read_run_files(folder).held
    assert not read_run_files(folder).held
    RunFolder("a", folder, folder).lock().close()  # raises if reading had kept it
