"""``compare`` through its command line."""

import json
import subprocess
import sys

import pytest
import torch

from helpers.cli import run_cli_in_process
from helpers.rank_tables import random_ranks, table_lines, write_folder
from helpers.run_folders import write_run
from tangka_match.compare import main as compare

from .conftest import places

OWNERS = torch.arange(200)


@pytest.fixture
def folders(tmp_path):
    """Write evaluations with R@1 of about 35 % (``a0`` … ``a2``) and 55 % (``b0`` … ``b2``)."""
    generator = torch.Generator().manual_seed(0)
    for side, found in (("a", 0.35), ("b", 0.55)):
        for seed in range(3):
            write_folder(tmp_path / f"{side}{seed}", table_lines(random_ranks(OWNERS, found, generator), OWNERS))
    return tmp_path


def verdict_of(done):
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("mean R@1: "))
    return line.removeprefix("mean R@1: ")


def test_two_evaluations_in_a_fresh_process(folders):
    command = [sys.executable, "-m", "tangka_match.compare", "a=a0", "b=b0", "out=new/found.json"]
    done = subprocess.run(command, cwd=folders, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "200 images, 200 captions" in done.stdout
    assert "hold for these two models" in " ".join(done.stdout.split())
    found = json.loads((folders / "new" / "found.json").read_text("utf-8"))
    assert found["verdict"] == {"metric": "mean_r1", "better": "b", "text": verdict_of(done)}
    assert verdict_of(done).startswith("b is better by ")
    assert (found["a"], found["b"]) == ([str(folders / "a0")], [str(folders / "b0")])
    numbers = found["metrics"]["mean_r1"]
    assert numbers["difference"] == pytest.approx(numbers["b"] - numbers["a"])
    assert 0 < numbers["low"] < numbers["difference"] < numbers["high"]
    assert sorted(path.name for path in folders.iterdir()) == ["a0", "a1", "a2", "b0", "b1", "b2", "new"]


def sides(folders, a, b):
    return tuple(f"{side}=[{','.join(str(folders / name) for name in names)}]" for side, names in (("a", a), ("b", b)))


def test_several_seeds_per_side(folders):
    names = [[f"{side}{seed}" for seed in range(3)] for side in "ab"]
    done = run_cli_in_process(*sides(folders, *names), "resamples=2000", main=compare)
    assert done.code == 0, done.stderr
    assert "retraining with other seeds (3 and 3 here)" in " ".join(done.stdout.split())
    assert verdict_of(done).startswith("b is better by ")


def test_model_against_itself_is_not_distinguishable(folders):
    done = run_cli_in_process(*sides(folders, ["a0"], ["a0"]), "resamples=1000", main=compare)
    assert verdict_of(done) == "no significant difference (difference 0.00, 95 % interval 0.0 … 0.0, p = 1.0)"
    assert "a and b both hold" in done.stdout


def test_damaged_records_are_named(tmp_path):
    runs = [write_run(tmp_path, name, r1=r1, ranks=True) for name, r1 in (("one", 30.0), ("two", 50.0))]
    words = ("a=one", "b=two", f"paths.runs={tmp_path}", "resamples=1000")
    assert "skipped" not in run_cli_in_process(*words, main=compare).stdout
    with (runs[1] / "ledger.jsonl").open("a") as file:
        file.write("damaged\n")
    done = run_cli_in_process(*words, main=compare)
    assert done.code == 0, done.stderr
    assert "1 unreadable ledger line skipped: two/ledger.jsonl" in done.stdout


def test_runs_are_found_by_id(demo_data, tmp_path):
    for seed in (0, 1):
        done = run_cli_in_process("+experiment=debug", f"seed={seed}", *places(demo_data, tmp_path))
        assert done.code == 0, done.stderr
    first, last = sorted(path.name for path in (tmp_path / "runs").iterdir())
    tables = [tmp_path / "found.md", tmp_path / "found.tex"]
    words = (f"paths.runs={tmp_path / 'runs'}", "resamples=1000", f"tables=[{tables[0]},{tables[1]}]")
    done = run_cli_in_process(f"a={first}", "b=last", *words, main=compare)
    assert done.code == 0, done.stderr
    assert "40 images, 40 captions" in done.stdout
    values = [
        json.loads((tmp_path / "runs" / run / "result.json").read_text("utf-8"))["val_metrics"]["mean_r1"]
        for run in (first, last)
    ]
    (row,) = (line for line in done.stdout.splitlines() if line.strip().startswith("mean R@1 %"))
    assert row.split()[3:5] == [f"{value:.2f}" for value in values]


def no_table(folders):
    (folders / "b0" / "ranks.csv").unlink()


def unfinished_run(folders):
    no_table(folders)
    (folders / "b0" / "config.yaml").touch()


def malformed_line(folders):
    path = folders / "b0" / "ranks.csv"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines[:4], "i2t,image-3,image-3,first", *lines[5:]]), "utf-8")


def fewer_queries(folders):
    write_folder(folders / "small", table_lines(random_ranks(OWNERS[:50], 0.5, torch.Generator()), OWNERS[:50]))
    (folders / "small" / "ranks.csv").replace(folders / "b0" / "ranks.csv")


def one_query(folders):
    for name in ("a0", "b0"):
        (folders / name / "ranks.csv").write_text("direction,query,image,rank\ni2t,x,x,1\nt2i,0,x,1\n", "utf-8")


def unchanged(folders):
    pass


@pytest.mark.parametrize(
    ("spoil", "words", "message"),
    [
        (no_table, (), "b0 has no ranks.csv; write it with tangka_match.evaluate out="),
        (
            unfinished_run,
            (),
            "the run has not finished (status: killed): continue it with resume=b0",
        ),
        (malformed_line, (), "b0/ranks.csv: line 5 has rank 'first'; allowed: whole numbers from 1"),
        (fewer_queries, (), "has the i2t query 'image-50' of image 'image-50', and"),
        (one_query, (), "a0/ranks.csv: holds 1 image queries; comparing models needs at least 2"),
        (unchanged, ("b={folder}/nowhere",), "nowhere: no such folder; give a folder written by tangka_match.evaluate"),
        (unchanged, ("b=2026", "paths.runs={folder}"), "b=2026: no run fits"),
        (unchanged, ("b=[{folder}/b0,{folder}/b1]",), "side a has 1 and side b has 2 seeds"),
        (unchanged, ("b=[{folder}/b0,{folder}/b0]",), "b0 twice; give each seed once"),
        (unchanged, ("b=[]",), "b=[]: "),
        (unchanged, ("resamples=10",), "resamples=10 must be >= 1000"),
        (unchanged, ("seed=-1",), "seed=-1"),
        (unchanged, ("out={folder}/a0/ranks.csv",), "already exists and is not overwritten"),
    ],
)
def test_user_error_gives_one_message(folders, spoil, words, message):
    spoil(folders)
    usual = {"a": f"a={folders / 'a0'}", "b": f"b={folders / 'b0'}"}
    given = {word.partition("=")[0]: word.format(folder=folders) for word in words}
    done = run_cli_in_process(*(usual | given).values(), main=compare)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert done.stdout == ""
