import json
import logging
import shlex
import subprocess
from dataclasses import replace
from functools import partial

import pytest
import torch

from helpers.small_runs import STEPS_PER_EPOCH, Stop, StoppedError, small_plan
from tangka_match.errors import CheckpointError, ConfigError, TrainingError
from tangka_match.records.ledger import read_ledger
from tangka_match.records.past_runs import find_runs
from tangka_match.records.run_folder import RUN_ID_VARIABLE, RunFolder
from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint
from tangka_match.training import continuation, runner
from tangka_match.training.continuation import keeps_length, lr_ratio, read_parent
from tangka_match.training.optimisation import warmup_cosine
from tangka_match.training.runner import train


@pytest.fixture(autouse=True)
def _restore_process_state(monkeypatch):
    for name in (RUN_ID_VARIABLE, "CUBLAS_WORKSPACE_CONFIG", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "")  # recorded here, so that it is restored at the end
        monkeypatch.delenv(name)
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    yield
    torch.use_deterministic_algorithms(False)


def cosine_plan(root, **settings):
    schedule = partial(warmup_cosine, warmup_steps=0, final_ratio=0.0)
    return replace(small_plan(root, **settings), scheduler=schedule)


def logged_steps(folder):
    return [e["step"] for e in read_ledger(folder.ledger) if "train/loss" in e.get("values", {})]


def test_continuation_is_a_new_run_from_the_last_step(tmp_path, caplog):
    parent = train(cosine_plan(tmp_path)).folder
    before = {path: path.read_bytes() for path in parent.checkpoints.iterdir()}
    with caplog.at_level(logging.INFO, "tangka_match"):
        result = train(cosine_plan(tmp_path, max_epochs=4), parent=parent)
    assert result.folder.run_id != parent.run_id
    assert logged_steps(result.folder) == [6, 7, 8, 9, 10, 11]
    assert result.total_steps == 12
    start = read_ledger(result.folder.ledger)[0]
    assert start["parent"] == {"run_id": parent.run_id, "step": 6}
    meta = json.loads((result.folder.checkpoints / "meta.json").read_text("utf-8"))
    assert meta["parent"] == start["parent"]
    assert read_checkpoint(result.folder.last)[METADATA_KEY]["run_id"] == result.folder.run_id
    assert {path: path.read_bytes() for path in parent.checkpoints.iterdir()} == before
    assert "at step 6 of 12: the learning-rate schedule is that of the longer run" in caplog.text
    assert "the rate goes on at 0.5 of its peak" in caplog.text


def test_learning_rate_follows_the_longer_schedule(tmp_path):
    parent = train(cosine_plan(tmp_path)).folder
    folder = train(cosine_plan(tmp_path, max_epochs=4), parent=parent).folder
    rates = {
        e["step"]: e["values"]["train/lr"] for e in read_ledger(folder.ledger) if "train/lr" in e.get("values", {})
    }
    plan = cosine_plan(tmp_path, max_epochs=4)
    assert [rates[step] for step in range(7, 12)] == pytest.approx([0.5 * lr_ratio(plan, 12, s) for s in range(7, 12)])


def test_best_checkpoint_of_the_parent_is_kept_if_nothing_is_better(tmp_path):
    parent = train(small_plan(tmp_path)).folder
    plan = replace(small_plan(tmp_path, max_epochs=3), optimizer=partial(torch.optim.SGD, lr=0.0))
    result = train(plan, parent=parent)
    best = read_checkpoint(parent.best)
    assert result.best_step == best["global_step"]
    assert torch.equal(
        read_checkpoint(result.folder.best)["state_dict"]["matcher.project"], best["state_dict"]["matcher.project"]
    )


def test_run_that_ended_within_an_epoch_goes_on(tmp_path):
    parent = train(small_plan(tmp_path, max_steps=2)).folder
    assert train(small_plan(tmp_path), parent=parent).total_steps > 2


def test_early_stopping_counts_anew(tmp_path):
    """Without the reset, it would end the continuation after one epoch."""
    still = {"optimizer": partial(torch.optim.SGD, lr=0.0)}
    stopped = train(replace(small_plan(tmp_path, early_stopping_patience=2, max_epochs=9), **still))
    assert stopped.total_steps == 3 * STEPS_PER_EPOCH
    plan = replace(small_plan(tmp_path, early_stopping_patience=2, max_epochs=12), **still)
    assert train(plan, parent=stopped.folder).total_steps == 5 * STEPS_PER_EPOCH


def test_continuation_that_was_stopped_is_resumed(tmp_path):
    parent = train(small_plan(tmp_path)).folder
    plan = small_plan(tmp_path, max_epochs=4)
    with pytest.raises(StoppedError):
        train(replace(plan, build_callbacks=lambda: [Stop(after=7)]), parent=parent)
    (path,) = (path for path in (tmp_path / "runs").iterdir() if path.name != parent.run_id)
    folder = RunFolder(path.name, path, tmp_path / "checkpoints/small" / path.name)
    assert train(small_plan(tmp_path, max_epochs=4), resume=folder).total_steps == 12


def test_continuation_is_never_taken_for_a_long_run(tmp_path):
    parent = train(small_plan(tmp_path)).folder
    plan = small_plan(tmp_path, max_epochs=3)
    config = {**plan.config, "name": "small", "paths": {"checkpoints": str(tmp_path / "checkpoints")}}
    text = json.dumps(config)
    folder = train(replace(plan, config=config, config_yaml=text), parent=parent).folder
    fingerprint = read_ledger(folder.ledger)[0]["data_fingerprint"]
    assert find_runs(tmp_path / "runs", config, fingerprint, None) == []
    first, *others = folder.ledger.read_text("utf-8").splitlines(keepends=True)
    alone = {key: value for key, value in json.loads(first).items() if key != "parent"}
    folder.ledger.write_text(json.dumps(alone) + "\n" + "".join(others), encoding="utf-8")
    assert [run.folder.run_id for run in find_runs(tmp_path / "runs", config, fingerprint, None)] == [folder.run_id]


def test_exception_not_longer(tmp_path):
    parent = train(small_plan(tmp_path)).folder
    with pytest.raises(
        ConfigError, match=r"done 6 optimizer steps of 3 per epoch; .*max_epochs=2 .* set trainer.max_epochs above 2$"
    ):
        train(small_plan(tmp_path), parent=parent)
    with pytest.raises(ConfigError, match=r"above 2, and trainer.max_steps=-1$"):
        train(small_plan(tmp_path, max_epochs=4, max_steps=6), parent=parent)
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_exception_schedule_whose_state_holds_the_length(tmp_path):
    """Its state would be restored, and the run would fail at the end of the parent's schedule."""
    schedule = partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=0.5)
    parent = train(replace(small_plan(tmp_path), scheduler=schedule)).folder
    plan = replace(small_plan(tmp_path, max_epochs=4), scheduler=schedule)
    plan.config["scheduler"] = {"_target_": "torch.optim.lr_scheduler.OneCycleLR"}
    with pytest.raises(ConfigError, match=r"schedule OneCycleLR holds the length .* \(init_from=.*last\.ckpt\)"):
        train(plan, parent=parent)
    assert len(list((tmp_path / "runs").iterdir())) == 1


class HoldsFunction(torch.optim.lr_scheduler.LRScheduler):
    """Schedule whose state holds a function, another object in each schedule."""

    def __init__(self, optimizer, total_steps):
        self.rate = lambda step: 1.0
        super().__init__(optimizer)

    def get_lr(self):
        return [self.rate(self.last_epoch)]


def test_schedule_whose_state_holds_a_function_does_not_keep_the_length(tmp_path):
    assert not keeps_length(replace(small_plan(tmp_path), scheduler=HoldsFunction), 6, 12)


def test_only_the_main_process_takes_the_lock_of_the_parent(tmp_path, monkeypatch):
    parent = train(small_plan(tmp_path)).folder
    held = parent.lock()
    monkeypatch.setattr(RunFolder, "lock", lambda self: (_ for _ in ()).throw(TrainingError("still going")))
    monkeypatch.setattr(continuation, "is_main_process", lambda: False)
    assert read_parent(parent).step == 6
    held.close()


@pytest.mark.parametrize("name", ["best", "last"])
def test_exception_missing_checkpoint(tmp_path, name):
    parent = train(small_plan(tmp_path)).folder
    getattr(parent, name).unlink()
    with pytest.raises(CheckpointError, match=rf"{name}\.ckpt does not exist, so run .* cannot go on longer"):
        train(small_plan(tmp_path, max_epochs=4), parent=parent)


def test_exception_parent_is_still_going(tmp_path, monkeypatch):
    parent = train(small_plan(tmp_path)).folder
    monkeypatch.setattr(RunFolder, "lock", lambda self: (_ for _ in ()).throw(TrainingError("still going")))
    with pytest.raises(TrainingError, match="still going"):
        train(small_plan(tmp_path, max_epochs=4), parent=parent)


def test_damaged_last_checkpoint_is_replaced_as_the_message_says(tmp_path):
    plan = replace(small_plan(tmp_path), build_callbacks=lambda: [Stop(after=5)])
    with pytest.raises(StoppedError):
        train(plan)
    (path,) = (tmp_path / "runs").iterdir()
    folder = RunFolder(path.name, path, tmp_path / "checkpoints/small" / path.name)
    folder.last.write_bytes(folder.last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"last.ckpt: damaged or half-written") as caught:
        train(small_plan(tmp_path), resume=folder)
    command = str(caught.value).partition("continue its run from there: ")[2].partition(", then resume=")[0]
    subprocess.run(shlex.split(command), check=True)
    assert train(small_plan(tmp_path), resume=folder).total_steps == 6
    assert logged_steps(folder) == [0, 1, 2, 3, 4, 5]
