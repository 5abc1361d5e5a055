"""Faulty runs, checkpoints and disks: one message, exit code 2, nothing overwritten."""

import contextlib
import json
import os
import pickle
import shutil

import pytest
import torch
import yaml

from helpers.bad_input import ONE_EPOCH, SMALL, Bomb, assert_one_message, contents, places
from helpers.cli import run_cli_in_process, run_cli_subprocess
from helpers.precomp import write_dataset, write_lines
from helpers.small_disk import mounted
from tangka_match.retrieval.metadata import METADATA_KEY


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train one epoch, and return the folder with the run and its data."""
    folder = tmp_path_factory.mktemp("trained")
    write_dataset(folder / "set")
    done = run_cli_in_process(*SMALL, *ONE_EPOCH, *places(folder))
    assert done.code == 0, done
    return folder


class Stopped:
    """Run that was killed after the first of two epochs."""

    def __init__(self, folder):
        (self.path,) = folder.glob("runs/*")
        (self.last,) = folder.glob("checkpoints/debug/*/last.ckpt")
        self.folder = folder
        self.change_config(lambda config: config["trainer"].update(max_epochs=2))
        ledger = self.path / "ledger.jsonl"
        events = [line for line in ledger.read_text("utf-8").splitlines() if json.loads(line)["event"] != "end"]
        write_lines(ledger, events)

    def change_config(self, change):
        config = yaml.safe_load((self.path / "config.yaml").read_text("utf-8"))
        change(config)
        (self.path / "config.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")

    def change_checkpoint(self, change):
        checkpoint = torch.load(self.last, weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, self.last)

    def resume(self, how=run_cli_in_process):
        return how(f"resume={self.path.name}", *places(self.folder))


@pytest.fixture
def stopped(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return Stopped(tmp_path / "run")


def other_architecture(run):
    run.change_config(lambda config: config["model"].update(embed_dim=32))


def checkpoint_of_another_model(run):
    run.change_checkpoint(lambda checkpoint: checkpoint[METADATA_KEY]["model"].update(lstm_dim=48))


def other_vocabulary(run):
    captions = run.folder / "set" / "train_caps.txt"
    captions.write_text(captions.read_text("utf-8").replace("绿度母", "大威德"), encoding="utf-8")


def half_a_checkpoint(run):
    os.truncate(run.last, 1_000)


def empty_checkpoint(run):
    run.last.write_bytes(b"")


def checkpoint_of_another_project(run):
    torch.save({"state_dict": {}}, run.last)


FAULTS = [
    (
        other_architecture,
        r"/last\.ckpt belongs to another model.*\n  model\.embed_dim: 64 in the checkpoint, 32 here\n",
    ),
    (
        checkpoint_of_another_model,
        r"/last\.ckpt belongs to another model.*\n  model\.lstm_dim: 48 in the checkpoint, 32",
    ),
    (
        other_vocabulary,
        r"/last\.ckpt belongs to another .*\n  vocabulary_fingerprint: '\w+' in the checkpoint, '\w+' here",
    ),
    (
        half_a_checkpoint,
        r"/last\.ckpt: damaged or half-written, 1,000 bytes .* cp \S+/best\.ckpt \S+/last\.ckpt, then resume",
    ),
    (empty_checkpoint, r"/last\.ckpt: damaged or half-written, 0 bytes"),
    (checkpoint_of_another_project, r"/last\.ckpt: not a checkpoint of tangka_match"),
]


@pytest.mark.parametrize(("damage", "message"), FAULTS, ids=[damage.__name__ for damage, _ in FAULTS])
def test_exception_mismatched_checkpoint(stopped, damage, message):
    damage(stopped)
    before = contents(stopped.folder)
    assert_one_message(stopped.resume(), message)
    assert contents(stopped.folder) == before


def test_exception_resume_of_a_finished_run(trained):
    before = contents(trained)
    assert_one_message(
        run_cli_in_process("resume=last", *places(trained)), r"this run has finished; its checkpoints are"
    )
    assert contents(trained) == before


def test_exception_resume_of_an_unknown_run(trained):
    before = contents(trained)
    done = run_cli_in_process("resume=20200101", *places(trained))
    assert_one_message(done, r"resume=20200101: no run fits under .*/runs; the newest are:\n  20\d+")
    assert contents(trained) == before


def save_as_zip(bomb, path):
    torch.save({METADATA_KEY: bomb}, path)


def save_as_pickle(bomb, path):
    path.write_bytes(pickle.dumps(bomb))


@pytest.mark.parametrize(
    ("save", "how"), [(save_as_zip, run_cli_in_process), (save_as_pickle, run_cli_subprocess)], ids=["zip", "pickle"]
)
def test_malicious_checkpoint_is_not_run(stopped, tmp_path, save, how):
    mark = tmp_path / "it ran"
    save(Bomb(mark), stopped.last)
    with contextlib.suppress(RuntimeError):
        torch.load(stopped.last, weights_only=False)
    mark.rmdir()  # the check above shows that the file is malicious
    before = contents(stopped.folder)
    assert_one_message(
        stopped.resume(how), r"/last\.ckpt: refused, .*nothing in it was run\. Take the file from a source you trust"
    )
    assert not mark.exists()
    assert contents(stopped.folder) == before


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk") as disk:
        yield disk


@pytest.mark.parametrize(("what", "left"), [("checkpoints", 0), ("everything", 20_000)])
def test_full_disk_keeps_the_previous_checkpoint(trained, small_disk, tmp_path, what, left):
    shutil.copytree(trained, tmp_path / "run")
    if what == "checkpoints":
        shutil.move(tmp_path / "run" / "checkpoints", small_disk / "checkpoints")
        (tmp_path / "run" / "checkpoints").symlink_to(small_disk / "checkpoints")
    else:
        shutil.move(tmp_path / "run", small_disk / "run")
        (tmp_path / "run").symlink_to(small_disk / "run")
    run = Stopped(tmp_path / "run")
    weights = contents(run.last.parent)
    with (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(shutil.disk_usage(small_disk).free - left))
    assert_one_message(run.resume(), r"/(best|last)\.ckpt: cannot write .* bytes are free .*the previous one is kept")
    assert contents(run.last.parent) == weights
    (small_disk / "filler").unlink()
    assert run.resume().code == 0
