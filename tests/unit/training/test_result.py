from dataclasses import replace
from pathlib import Path

import pytest
import rich
from rich.console import Console

from helpers.metrics import METRICS
from tangka_match.records.run_folder import RunFolder
from tangka_match.records.working_time import WorkingTime
from tangka_match.training.callbacks.guard import Verdict
from tangka_match.training.distributed import rank_zero_only
from tangka_match.training.result import HeldOutResult, RunResult, print_result


@pytest.fixture
def result():
    return RunResult(
        folder=RunFolder("20260101-000000-abcdef-0123", Path("/r/20260101"), Path("/c/targeted/20260101")),
        metrics=METRICS,
        intervals={name: (value - 1.04, value + 1.06) for name, value in METRICS.items()},
        num_images=1363,
        num_captions=6815,
        best_epoch=7,
        best_step=1176,
        total_steps=3300,
        verdicts=[Verdict("collapse", "loss=[a list]: lower optimizer.lr", 1100)],
        num_parameters=28_500_000,
        working_time=WorkingTime({"data": 30.0, "forward and backward": 60.0, "validation": 10.0}, gpu_busy=15.0),
        pruned=False,
    )


def test_table_names_checkpoint_split_and_step(result, monkeypatch):
    console = Console(width=120, color_system=None)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    with console.capture() as capture:
        print_result(result)
    text = " ".join(capture.get().split())
    assert "20260101-000000-abcdef-0123: best.ckpt on validation, 1,363 images, 6,815 captions" in text
    assert "epoch 7, step 1,176 of 3,300; below each number its 95 % interval" in text


def test_verdicts_and_paths_are_printed(result, monkeypatch):
    console = Console(width=200, color_system=None)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    with console.capture() as capture:
        print_result(result)
    lines = capture.get().splitlines()
    assert lines[-5:] == [
        "time         data 30 %, forward and backward 60 %, validation 10 %; GPU busy 15 %",
        "guard        collapse (step 1,100); explained above and in result.json",
        "run folder   /r/20260101",
        "curves       /r/20260101/curves.png",
        "checkpoints  /c/targeted/20260101",
    ]


def test_paths_are_not_wrapped_in_a_narrow_terminal(result, monkeypatch):
    console = Console(width=30, color_system=None)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    with console.capture() as capture:
        print_result(result)
    assert "checkpoints  /c/targeted/20260101" in capture.get().splitlines()


def test_other_ranks_print_nothing(result, monkeypatch, capsys):
    monkeypatch.setattr(rank_zero_only, "rank", 1, raising=False)
    print_result(result)
    assert capsys.readouterr().out == ""


def test_held_out_fold_is_printed(result, monkeypatch):
    console = Console(width=120, color_system=None)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    intervals = {name: (value - 1, value + 1) for name, value in METRICS.items()}
    held_out = HeldOutResult(9, 4, METRICS, intervals, num_images=364, num_captions=1820)
    with console.capture() as capture:
        print_result(replace(result, held_out=held_out))
    assert "held-out fold 4 of 9, 364 images, 1,820 captions" in " ".join(capture.get().split())
