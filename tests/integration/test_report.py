"""``report`` and ``runs`` through their command lines."""

import subprocess
import sys

import pytest

from helpers.cli import run_cli_in_process
from helpers.held_lock import held_lock
from helpers.run_folders import write_run
from tangka_match.report import main as report
from tangka_match.runs import main as runs

from .conftest import places


@pytest.fixture
def folder(tmp_path):
    """Write two finished comparable runs, a running or killed one, and one killed while writing a line."""
    root = tmp_path / "runs"
    write_run(root, "20260101-000000-aaaaaa-0000", began=1e9, r1=30.0, ranks=True)
    write_run(root, "20260102-000000-bbbbbb-0000", began=2e9, r1=80.0, ranks=True, config={"loss": {"margin": 0.3}})
    write_run(root, "20260103-000000-cccccc-0000", began=3e9, status=None, config={"name": "sgraf"})
    of_sweep = {"began": 4e9, "config": {"loss": {"margin": 0.5}}, "sweep": "s1", "job": 0}
    killed = write_run(root / "sweeps" / "s1", "20260104-000000-dddddd-0000", status=None, **of_sweep)
    with (killed / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"event": "metrics", "st')
    return root


def test_report_is_written_and_overwritten(folder, tmp_path):
    out = tmp_path / "new" / "report.html"
    with held_lock(folder / "20260103-000000-cccccc-0000"):
        for _ in range(2):
            done = run_cli_in_process(f"runs={folder}", f"out={out}", "resamples=1000", main=report)
            assert (done.code, done.stderr) == (0, "")
    assert (
        done.stdout.splitlines()[0]
        == "4 runs, 4 recipes; 1 unreadable ledger line skipped: 20260104-000000-dddddd-0000/ledger.jsonl"
    )
    page = out.read_text("utf-8")
    for words in ('"status":"running"', '"status":"killed"', '"better":"a"', '"job":0'):
        assert words in page


def test_runs_does_not_import_torch(folder):
    script = (
        "import sys; sys.argv = ['runs', 'runs=' + sys.argv[1]]; from tangka_match.runs import main; main(); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.index("20260104-000000") < done.stdout.index("20260101-000000"), "the newest first"
    assert (
        done.stdout.splitlines()[-1]
        == "4 runs, 4 shown; 1 unreadable ledger line skipped: 20260104-000000-dddddd-0000/ledger.jsonl"
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["name=sgraf"], ["20260103"]),
        (["status=killed"], ["20260104", "20260103"]),
        (["of_sweep=s1"], ["20260104"]),
        (["sort=-mean_r1", "limit=1"], ["20260102"]),
        (["sort=loss.margin", "status=finished"], ["20260101", "20260102"]),
        (["tag=nothing"], []),
    ],
)
def test_runs_are_filtered_and_sorted(folder, words, found):
    done = run_cli_in_process(f"runs={folder}", *words, main=runs)
    assert done.code == 0, done.stderr
    assert [line[1:9] for line in done.stdout.splitlines() if line[1:5] == "2026"] == found


@pytest.mark.parametrize("given", ["20260102-000000-bbbbbb-0000", "20260102", "last"])
def test_show_prints_one_run(folder, given):
    done = run_cli_in_process(f"runs={folder}", f"show={given}", main=runs)
    assert done.code == 0, done.stderr
    assert ("20260104-000000-dddddd" if given == "last" else "20260102-000000-bbbbbb") in done.stdout
    assert "mean_r1" in done.stdout


@pytest.mark.parametrize(
    ("main", "words", "message"),
    [
        (report, ["runs={folder}/nowhere"], "nowhere: no such folder"),
        (report, ["runs={folder}/20260101-000000-aaaaaa-0000/empty"], "empty: no run here"),
        (report, ["out={folder}"], "runs is a folder; choose a file"),
        (report, ["out={folder}/20260101-000000-aaaaaa-0000/ranks.csv"], "ranks.csv is not a report"),
        (report, ["resamples=10"], "resamples=10"),
        (report, ["comparisons=-1"], "comparisons=-1"),
        (report, ["outt=x"], "outt: there is no such setting. Did you mean out?"),
        (runs, ["runs={folder}/nowhere"], "nowhere: no such folder"),
        (runs, ["show=2026"], "show=2026: 4 runs fit"),
        (runs, ["show=1999"], "show=1999: no run fits"),
        (runs, ["status=done"], "status='done': Input should be 'finished', 'running'"),
        (runs, ["sort=margin"], "sort=margin: no run has it"),
        (runs, ["limit=0"], "limit=0"),
    ],
)
def test_user_error_gives_one_message(folder, tmp_path, main, words, message):
    (folder / "20260101-000000-aaaaaa-0000" / "empty").mkdir()
    usual = {"runs": f"runs={folder}"} | ({"out": f"out={tmp_path / 'page.html'}"} if main is report else {})
    given = {word.partition("=")[0]: word.format(folder=folder) for word in words}
    done = run_cli_in_process(*(usual | given).values(), main=main)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "page.html").exists()


def test_report_of_a_trained_run(demo_data, tmp_path):
    done = run_cli_in_process("+experiment=debug", "logger=none", *places(demo_data, tmp_path))
    assert done.code == 0, done.stderr
    out = tmp_path / "report.html"
    done = run_cli_in_process(f"runs={tmp_path / 'runs'}", f"out={out}", main=report)
    assert done.stdout.splitlines()[0] == "1 run, 1 recipe", done.stderr
    assert '"status":"finished"' in out.read_text("utf-8")
    assert '"parameters":null' not in out.read_text("utf-8")
