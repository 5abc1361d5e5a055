import json

import pytest
import yaml

from helpers.held_lock import held_lock
from tangka_match.records.environment import CodeVersion
from tangka_match.records.past_runs import find_runs
from tangka_match.records.run_folder import config_hash

CODE = CodeVersion("c", "s")
CONFIG = {"name": "small", "seed": 0, "optimizer": {"lr": 1e-05}, "paths": {"checkpoints": "/c"}, "debug": False}


def write_run(runs, run_id="20260101-000000-{}-aaaa", *, status="finished", config=None, **start):
    config = config or CONFIG
    digest = config_hash(CONFIG)
    folder = runs / run_id.format(digest)
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    first = {
        "event": "start",
        "time": 0,
        "config_hash": digest,
        "data_fingerprint": "f",
        "git_commit": "c",
        "sources": "s",
        **start,
    }
    events = [first, *({"event": "metrics", "time": 0, "step": n, "epoch": 0, "values": {}} for n in range(300))]
    events += [{"event": "end", "time": 0, "status": status}] if status else []
    (folder / "result.json").write_text('{"val_metrics": {"mean_r1": 3.5}}')
    (folder / "ledger.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def found(runs, code=CODE, fingerprint="f", config=None):
    return [(run.folder.run_id[-4:], run.status) for run in find_runs(runs, config or CONFIG, fingerprint, code)]


@pytest.mark.parametrize("status", ["finished", "pruned", "stopped", "failed"])
def test_run_is_found_with_its_status(tmp_path, status):
    write_run(tmp_path, status=status)
    (run,) = find_runs(tmp_path, CONFIG | {"debug": True}, "f", CODE)
    assert run.status == status
    assert str(run.folder.checkpoints) == f"/c/small/{run.folder.run_id}"


def test_newest_run_is_first_and_status_of_killed_run_is_unknown(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, "20260102-000000-{}-bbbb", status=None)
    assert found(tmp_path) == [("bbbb", "unknown"), ("aaaa", "finished")]


def test_runs_of_other_data_or_code_are_not_found(tmp_path):
    write_run(tmp_path)
    assert found(tmp_path, fingerprint="g") == []
    assert found(tmp_path, CodeVersion("d", "s")) == []
    assert found(tmp_path, code=None) == [("aaaa", "finished")]


@pytest.mark.parametrize("commit", ["c+dirty", None], ids=["changed checkout", "wheel"])
def test_source_hash_identifies_code_without_clean_commit(tmp_path, commit):
    code = CodeVersion(commit and "c", "s")
    write_run(tmp_path, git_commit=commit)
    assert found(tmp_path, code) == [("aaaa", "finished")]
    assert found(tmp_path, code._replace(sources="t")) == []


def test_run_without_source_hash_is_not_found(tmp_path):
    write_run(tmp_path, sources=None)
    assert found(tmp_path) == []


def test_run_of_other_settings_with_equal_hash_is_not_found(tmp_path):
    write_run(tmp_path, config=CONFIG | {"seed": 1})
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    "text", ["seed: [", "a word", "{}", "name: small\npaths: null", "name: small\npaths: {checkpoints: 3}", "- " * 9999]
)
def test_run_with_damaged_config_is_not_found(tmp_path, text):
    (write_run(tmp_path) / "config.yaml").write_text(text)
    assert found(tmp_path) == []


@pytest.mark.parametrize("text", ["", "\n", "not json\n", '{"event": "start"}\n'])
def test_run_with_damaged_ledger_is_not_found(tmp_path, text):
    (write_run(tmp_path) / "ledger.jsonl").write_text(text)
    assert found(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "{}", '{"val_metrics": 3}', "[" * 100_000])
def test_finished_run_with_damaged_result_is_not_found(tmp_path, caplog, text):
    (write_run(tmp_path) / "result.json").write_text(text)
    assert found(tmp_path) == []
    assert "result.json: damaged or missing: this run is not reused" in caplog.text


def test_finished_run_that_can_write_its_outputs_again_is_incomplete(tmp_path):
    config = CONFIG | {"paths": {"checkpoints": str(tmp_path / "checkpoints")}}
    folder = write_run(tmp_path / "runs", config=config)
    checkpoints = tmp_path / "checkpoints" / "small" / folder.name
    checkpoints.mkdir(parents=True)
    for path in (checkpoints / "last.ckpt", checkpoints / "meta.json", folder / "ranks.csv", folder / "curves.png"):
        path.touch()
    assert found(tmp_path / "runs", config=config) == [("aaaa", "finished")]
    (folder / "result.json").write_text("{")
    (run,) = find_runs(tmp_path / "runs", config, "f", CODE)
    assert (run.status, run.can_go_on()) == ("incomplete", True)


def test_only_unfinished_and_unlocked_runs_can_be_resumed(tmp_path):
    write_run(tmp_path, status="finished")
    write_run(tmp_path, "20260102-000000-{}-bbbb", status="pruned")
    write_run(tmp_path, "20260103-000000-{}-cccc", status="stopped")
    stopped, pruned, finished = find_runs(tmp_path, CONFIG, "f", CODE)
    assert [run.can_go_on() for run in (stopped, pruned, finished)] == [True, False, False]
    with held_lock(stopped.folder.path):
        assert not stopped.can_go_on()
    assert stopped.can_go_on()
