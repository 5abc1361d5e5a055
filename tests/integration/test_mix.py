"""Several data sets in one run, through the command line."""

import signal

import pytest
import torch

from helpers.cli import run_cli_in_process, run_cli_subprocess
from helpers.precomp import write_precomp
from tangka_match.training.records.ledger import read_ledger

from .conftest import places
from .test_resume import EXIT_CODE, checkpoint, start_and_stop

RUN = (
    "+experiment=debug",
    "augmentation=drop",
    "training.checkpoint_every_n_steps=4",
    "trainer.max_steps=-1",
    "trainer.max_epochs=2",
    "logger=csv",
)


@pytest.fixture
def other(tmp_path):
    """Fifty pairs with features like those of the demo set."""
    return write_precomp(tmp_path / "另一个 set", images=50, regions=36, dim=2048, seed=3).root


def test_a_killed_run_on_two_sets_ends_with_the_bits_of_an_unbroken_one(demo_data, other, tmp_path):
    mix = f"data.mix=[{{root: {other}, share: 0.5}}]"
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    done = run_cli_subprocess(*RUN, mix, *places(demo_data, unbroken))
    assert done.code == 0, done.stderr
    (run,) = unbroken.glob("runs/*")
    log = " ".join((run / "run.log").read_text("utf-8").split())
    assert f"train 160 captions of 160 images and 50 % of each batch from 50 captions of 50 images in {other}" in log
    assert "val 40 of 40; 20 steps an epoch" in log
    (end,) = (event for event in read_ledger(run / "ledger.jsonl") if event["event"] == "end")
    assert end["status"] == "finished"

    words = (*RUN, mix, *places(demo_data, broken))
    assert (
        start_and_stop(words, lambda: broken.glob("runs/*/ledger.jsonl"), signal.SIGKILL) == EXIT_CODE[signal.SIGKILL]
    )
    resumed = run_cli_subprocess("resume=last", f"paths.runs={broken / 'runs'}")
    assert resumed.code == 0, resumed.stderr
    whole, again = (checkpoint(folder, "last")["state_dict"] for folder in (unbroken, broken))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_what_does_not_fit_leaves_no_run_folder(demo_data, tmp_path):
    small = write_precomp(tmp_path / "small", images=50, regions=7, dim=2048).root
    mix = f"data.mix=[{{root: {small}, share: 0.5}}]"
    done = run_cli_in_process("+experiment=debug", mix, *places(demo_data, tmp_path))
    assert done.code == 2
    assert f"{small}/train_ims.npy has (7, 2048)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
