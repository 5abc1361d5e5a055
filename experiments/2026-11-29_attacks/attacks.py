"""Repeat all attacks and print their counts as JSON: ``python attacks.py [--overrides 2000] [--files 200]``.

- ``overrides``: random command lines, composed from the real ``conf/`` and stopped where the work would begin;
- ``files``: damaged files of every kind, read as commands read them;
- ``records``: named damage to one run of three, and what ``runs`` and ``report`` do with the others;
- ``kills``: SIGKILL during training, then ``resume=last``; the weights are compared with those of an unbroken run;
- ``full_disks``: every command that writes, on file systems of several sizes (needs the right to mount).

A finding is an exception that is none of ours, or an exit code that is neither 0 nor 2. An older commit is attacked
through ``PYTHONPATH=<its worktree>/src``.
"""

# ruff: noqa: E402 - the tests' helpers are found only after sys.path has changed
import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[2] / "tests"
sys.path.insert(0, str(TESTS))

if importlib.util.find_spec("tangka_match.config.composing") is None:  # an older commit: Hydra's own errors
    older = types.ModuleType("tangka_match.config.composing")
    older.check_choices = lambda folder, words: None
    older.composing_explained = lambda words: contextlib.nullcontext()
    sys.modules[older.__name__] = older

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from helpers.damaged_files import KINDS, unexpected
from helpers.equal_states import same
from helpers.run_folders import write_run

LETTERS = "abcdefghijklmnopqrstuvwxy"
ALIASES = "a: &a [1]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in itertools.pairwise(LETTERS))
HURT = {
    "metrics without epoch": (
        "ledger.jsonl",
        '{"event": "metrics", "time": 1, "step": 1, "values": {"train/loss": 1}}\n',
    ),
    "text as step": (
        "ledger.jsonl",
        '{"event": "metrics", "time": 1, "step": "1", "epoch": 0, "values": {"train/loss": 1}}\n',
    ),
    "an integer of 5,000 digits": ("ledger.jsonl", f'{{"event": "resume", "time": 1, "step": 1{5000 * "0"}}}\n'),
    "nesting in JSON": ("result.json", "[" * 100_000),
    "nesting in YAML": ("config.yaml", "- " * 100_000),
    "aliases in YAML": ("config.yaml", ALIASES),
    "text as a metric": ("result.json", '{"val_metrics": {"mean_r1": "NaN"}}'),
    "paths are null": ("config.yaml", "name: a\npaths: null\n"),
}  # fmt: skip


def main() -> None:
    """Run all attacks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("overrides", 2000), ("files", 200), ("kills", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    counts: dict[str, Any] = {}
    for name, attack in (
        ("overrides", lambda: overrides(options.overrides, options.seed)),
        ("files", lambda: files(options.files)),
        ("records", records),
        ("kills", lambda: kills(options.kills)),
        ("full_disks", full_disks),
    ):
        counts[name] = attack()
        print(json.dumps({name: counts[name]}, ensure_ascii=False), flush=True)


def overrides(number: int, start: int) -> dict[str, int]:
    """Attack commands with random overrides, after those that are known."""
    spec = importlib.util.spec_from_file_location("test_overrides", TESTS / "property" / "test_overrides.py")
    fuzzer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzzer)
    found, tried = 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = sum(fuzzer.attack(command, words, folder) is not None for command, words in fuzzer.FOUND)

        @seed(start)
        @given(fuzzer.commands())
        @settings(
            max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )  # fmt: skip
        def attack(drawn: tuple[str, Sequence[str]]) -> None:
            nonlocal found, tried
            tried += 1
            found += fuzzer.attack(*drawn, folder) is not None

        if number:
            attack()
    return {"known": len(fuzzer.FOUND), "known_found": known, "random": tried, "random_found": found}


def files(number: int) -> dict[str, int]:
    """Read ``number`` damaged files of each kind; return the findings by kind."""
    found = dict.fromkeys(KINDS, 0)
    for kind in KINDS:
        for start in range(number):
            with tempfile.TemporaryDirectory() as folder:
                found[kind] += unexpected(kind, Path(folder), start)[1] is not None
    return {"of_each_kind": number, **found}


def records() -> dict[str, str]:
    """Damage one run of three; return what ``runs`` and ``report`` did: ``ok``, or how they ended."""
    said = {}
    for name, (file, content) in HURT.items():
        with tempfile.TemporaryDirectory() as folder:
            runs = Path(folder) / "runs"
            hurt = [write_run(runs, f"run-{n}", seed=n) for n in range(3)][1] / file
            if file == "ledger.jsonl":
                hurt.write_text(hurt.read_text() + content)
            else:
                hurt.write_text(content)
            said[name] = "; ".join(
                f"{command} {_end(_run(command, *words))}"
                for command, words in (
                    ("runs", [f"runs={runs}"]),
                    ("report", [f"runs={runs}", f"out={folder}/report.html"]),
                )
            )
    return said


def kills(number: int) -> dict[str, int]:
    """Kill trainings at random moments; count those that ``resume=last`` finishes, and those with the same weights."""
    draws, killed, finished, equal = random.Random(0), 0, 0, 0  # noqa: S311 - not a secret
    with tempfile.TemporaryDirectory() as name:
        unbroken = Path(name) / "unbroken"
        _run("train", *_training(unbroken))
        for attempt in range(number):
            folder = Path(name) / str(attempt)
            process = subprocess.Popen(
                _program("train", *_training(folder)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while process.poll() is None and not list(folder.glob("checkpoints/*/*/last.ckpt")):
                time.sleep(0.05)
            time.sleep(draws.random())
            process.kill()
            killed += process.wait() == -signal.SIGKILL  # otherwise it had ended
            done = _run("train", "resume=last", *_places(folder))
            finished += done.returncode == 0 or "this run has finished" in done.stderr
            equal += _same_weights(folder, unbroken)
    return {"trained": number, "killed": killed, "finished": finished, "equal_weights": equal}


def _training(folder: Path) -> list[str]:
    return [
        "+experiment=debug", "trainer.max_steps=-1", "trainer.max_epochs=8", "training.checkpoint_every_n_steps=1",
        *_places(folder),
    ]  # fmt: skip


def _places(folder: Path) -> list[str]:
    return [f"paths.{name}={folder}/{name}" for name in ("data", "runs", "checkpoints")]


def _same_weights(*folders: Path) -> bool:
    """Whether the last checkpoints of two trainings hold the same weights, bit by bit."""
    files = [file for folder in folders for file in folder.glob("checkpoints/*/*/last.ckpt")]
    if len(files) != len(folders):
        return False
    return same(*(torch.load(file, weights_only=True)["state_dict"] for file in files))


def full_disks() -> dict[str, dict[str, str]]:
    """Run every command that writes on file systems of several sizes; return how it ended, and which files it left."""
    said: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run("train", "+experiment=debug", *_places(folder))
        (checkpoint,) = folder.glob("checkpoints/*/*/best.ckpt")
        data = f"data.root={folder}/data/demo_small"
        captions = folder / "captions.csv"
        captions.write_text("image,text\n" + "".join(f"{n}.jpg,绿度母 {n}\n" for n in range(200)), "utf-8")
        (folder / "queries.txt").write_text("绿度母\n" * 2000, "utf-8")
        np.save(folder / "features.npy", np.ones((200, 36, 64), dtype=np.float16))
        disk = folder / "disk"
        writers = {
            "demo_data": ["data=demo_small", f"data.root={disk}/set"],
            "train": ["+experiment=debug", f"paths.data={folder}/data", f"paths.runs={disk}/runs",
                      f"paths.checkpoints={disk}/checkpoints"],
            "evaluate": [f"checkpoint={checkpoint}", data, f"out={disk}/out"],
            "diagnose": [f"checkpoint={checkpoint}", data, f"out={disk}/out"],
            "search": [f"checkpoint={checkpoint}", data, f"queries={folder}/queries.txt", f"out={disk}/answers.csv"],
            "export": [f"checkpoint={checkpoint}", f"out={disk}/out"],
            "report": [f"runs={folder}/runs", f"out={disk}/report.html"],
            "prepare": [f"features={folder}/features.npy", f"captions={captions}", "splits=[0.8,0.1,0.1]",
                        f"out={disk}/set"],
        }  # fmt: skip
        for command, words in writers.items():
            said[command] = {size: _on_small_disk(disk, size, command, words) for size in ("8k", "64k", "512k", "4m")}
    return said


def _on_small_disk(disk: Path, size: str, command: str, words: list[str]) -> str:
    disk.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        return "not run: needs the right to mount"
    try:
        end = _end(_run(command, *words))
        left = sorted({path.name for path in disk.rglob("*") if path.is_file()})
        return end if end == "ok" or not left else f"{end}, left {', '.join(left)}"
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607


def _program(command: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"tangka_match.{command}", *words]


def _run(command: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(_program(command, *words), capture_output=True, text=True, check=False, timeout=900)


def _end(done: "subprocess.CompletedProcess[str]") -> str:
    if done.returncode in (0, 2) and "Traceback" not in done.stderr:
        return "ok" if done.returncode == 0 else "clean error"
    return f"exit {done.returncode}"


if __name__ == "__main__":
    main()
