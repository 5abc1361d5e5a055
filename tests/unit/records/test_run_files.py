import subprocess
import sys

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
    assert files.history.start["event"] == "start"
    assert files.history.status == "finished"
    assert files.config["loss"]["margin"] == 0.2
    assert files.result["best_step"] == 40
    assert (files.skipped, files.held, files.has_ranks, files.problems) == (0, False, True, ())


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("config.yaml", "a: [1, 2", "config.yaml: while parsing"),
        ("config.yaml", "- 1\n- 2\n", "config.yaml: not a mapping"),
        ("config.yaml", "!!python/object/apply:os.system ['touch pwned']", "config.yaml: could not determine"),
        ("config.yaml", "- " * 100_000, "config.yaml: more than 50 levels"),
        ("config.yaml", "a: " + "[" * 60 + "]" * 60, "config.yaml: more than 50 levels"),
        ("config.yaml", "a: &a [1]\nb: [*a, *a]\n", "config.yaml: holds an alias"),
        ("config.yaml", f"seed: 1{5000 * '0'}\n", "config.yaml: Exceeds the limit"),
        ("config.yaml", f"data: {{size: 0x{100 * 'f'}}}\n", "config.yaml: an integer of more than 64 bits"),
        ("config.yaml", "seed: one\n", "config.yaml: seed='one': Input should be a valid integer"),
        ("config.yaml", "seed: true\n", "config.yaml: seed='True': Input should be a valid integer"),
        ("config.yaml", "name: [1]\n", "config.yaml: name='[1]': Input should be a valid string"),
        ("config.yaml", "paths: null\n", "config.yaml: paths='None': Input should be a valid dictionary"),
        ("config.yaml", "a: !!set {b}\n", "config.yaml: holds set"),
        ("config.yaml", "1: a\nb: c\n", "config.yaml: keys must be text"),
        ("config.yaml", "a: " + "b" * 2_000_000, "config.yaml: larger than 1,048,576 bytes"),
        ("result.json", '{"val_metrics": {', "result.json: "),
        ("result.json", '{"val_metrics": {"mean_r1": "NaN"}}', "result.json: val_metrics.mean_r1='NaN': Input should"),
        ("result.json", '{"val_ci95": {"mean_r1": [1]}}', "result.json: val_ci95.mean_r1='[1]': List should have at"),
        ("result.json", '{"held_out": [1]}', "result.json: held_out='[1]': Input should be a valid dict"),
        ("result.json", '{"a": ' * 100_000, "result.json: "),
        ("result.json", f'{{"best_step": 1{5000 * "0"}}}', "result.json: Exceeds the limit"),
        ("environment.json", '{"command": ["python"]}', "environment.json: command="),
        ("result.json", "[]", "result.json: not a mapping"),
    ],
)
def test_damaged_file_is_reported_and_the_rest_is_read(tmp_path, name, content, problem):
    folder = write_run(tmp_path, "a")
    (folder / name).write_text(content)
    files = read_run_files(folder)
    (found,) = files.problems
    assert found.startswith(problem)
    assert len(files.history.clock.steps) > 10
    assert not (tmp_path / "pwned").exists()


def test_brackets_on_many_short_lines_do_not_overflow_the_stack(tmp_path):
    (tmp_path / "config.yaml").write_text("[\n" * 300_000)
    code = "import pathlib, tangka_match.records.saved_files as s; s.read_mapping(pathlib.Path('config.yaml'))"
    # A process of its own: without the check, it dies by a segmentation fault.
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "DataFormatError: config.yaml: more than 50 levels" in ended.stderr


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
