"""Ensembles of several recipes through the command line on a tiny data set."""

import json
import re
import shlex

import pytest

from helpers.bad_input import assert_one_message, contents, places
from helpers.cli import run_cli_in_process
from helpers.precomp import write_dataset
from tangka_match.evaluate import main as evaluate_main
from tangka_match.sweeps.manifest import Manifest

SHORT = ("data=precomp", "data.batch_size=4", "logger=none", "trainer.max_steps=-1", "trainer.max_epochs=1")
FIRST, SECOND = "debug loss=triplet", "cca model.rank=8 model.codebook_size=4"
MEMBERS = f"members=['{FIRST}','{SECOND}']"


def test_members_of_different_kinds_form_an_ensemble(tmp_path):
    """Weights are chosen on validation; the command that is printed gives the same metrics."""
    write_dataset(tmp_path / "set")
    command = (*SHORT, "scheduler.warmup_steps=1", *places(tmp_path), "seeds=[0,1]", "ensemble=true", MEMBERS)
    done = run_cli_in_process(*command)
    assert done.code == 0, done.stderr
    assert (
        "ensemble of debug loss=triplet (2 seeds), cca model.rank=8 model.codebook_size=4 (2 seeds), weighted"
        in " ".join(done.stdout.split())
    )
    (manifest,) = tmp_path.glob("runs/sweeps/*/manifest.jsonl")
    assert [job.end["status"] for job in Manifest(manifest).read().jobs.values()] == ["finished"] * 4
    summary = json.loads(manifest.read_text("utf-8").splitlines()[-1])
    assert [member["name"] for member in summary["members"]] == [
        "debug loss=triplet",
        "cca model.rank=8 model.codebook_size=4",
    ]
    first, second, third, fourth = summary["weights"]
    assert (first, third) == (second, fourth)
    assert 2 * (first + third) == pytest.approx(1, abs=1e-5)
    (shown,) = re.findall(r"tangka_match.evaluate (.*) split=test", done.stdout)
    evaluated = run_cli_in_process(*shlex.split(shown), "split=val", f"out={tmp_path / 'again'}", main=evaluate_main)
    assert evaluated.code == 0, evaluated.stderr
    metrics = json.loads((tmp_path / "again" / "metrics.json").read_text("utf-8"))
    assert summary["ensemble"] == {name: metrics[name] for name in summary["ensemble"]}
    chosen = (*(word for word in shlex.split(shown) if not word.startswith("weights=")), "weights=val", "split=val")
    evaluated = run_cli_in_process(*chosen, f"out={tmp_path / 'chosen'}", main=evaluate_main)
    assert "chosen by rsum on the validation split, which are the queries evaluated here" in evaluated.stdout
    found = json.loads((tmp_path / "chosen" / "metrics.json").read_text("utf-8"))
    assert sum(found["weights"]) == pytest.approx(1, abs=1e-5)
    assert found["rsum"] >= metrics["rsum"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("[best,nothing]", r"members: nothing: .*nothing"),
        (
            "[best,'targeted loss.margni=1']",
            r"members: targeted loss\.margni=1: loss\.margni: there is no such setting",
        ),
        (
            "[best,'cca data.folds=3 data.fold=1']",
            r"best has data\.folds=None, cca .* has 3: they must be",
        ),
        ("[best,'debug loss=null']", r"members: debug loss=null: loss=null: choose a file of conf/loss by its name"),
        ('[best,"debug name=\'x"]', r"members: debug name='x: .*quot"),
        ("[best,'debug seed=3']", r"members: debug seed=3: seed=3 is a setting of the whole command; give it beside"),
        ("[best,'debug sweep.retries=3']", r"sweep\.retries=3 is a setting of the whole command"),
        ("[best,'best optimizer.lr=1e-6']", r"best optimizer\.lr=1e-6 has the same settings as another member"),
        ("[best,best_ensemble]", r"members: best_ensemble: a member cannot have members itself; list them all"),
        (
            "[best,'cca data.root=/elsewhere']",
            r"cca data\.root=/elsewhere has /elsewhere: they must be validated on the same data; give data=",
        ),
    ],
)
def test_invalid_member_starts_nothing(tmp_path, members, message):
    write_dataset(tmp_path / "set")
    before = contents(tmp_path)
    given = places(tmp_path)
    if "data.root" in members:  # the command line would win
        given = [word for word in given if not word.startswith("data.root=")]
        members = members.replace("best", f"'best data.root={tmp_path / 'set'}'", 1)
    command = (*SHORT, *given, "seeds=[0,1]", "ensemble=true", f"members={members}")
    assert_one_message(run_cli_in_process(*command), message)
    assert contents(tmp_path) == before


def test_exception_weights_of_another_number(tmp_path):
    """The settings of evaluate name what is wrong with them."""
    words = ("checkpoint=[a.ckpt,b.ckpt]", "data.root=set", f"out={tmp_path / 'out'}")
    for weights, message in {
        "[1,2,3]": r"weights=\[1\.0, 2\.0, 3\.0\]: 3 weights of 2 checkpoints; give one for each",
        "[0,0]": r"weights: found \[0, 0\]; give a list of numbers >= 0, not all of them 0",
        "[-1,1]": r"weights: found \[-1, 1\]; give a list of numbers",
        "[true,1]": r"weights: found \[true, 1\]; give a list of numbers",
        "mean": r"weights: found mean; give a list of numbers",
    }.items():
        assert_one_message(run_cli_in_process(*words, f"weights={weights}", main=evaluate_main), message)
    alone = run_cli_in_process("checkpoint=a.ckpt", *words[1:], "weights=val", main=evaluate_main)
    assert_one_message(alone, r"weights=val: only an ensemble has weights; give checkpoint=\[a\.ckpt,b\.ckpt\]")
