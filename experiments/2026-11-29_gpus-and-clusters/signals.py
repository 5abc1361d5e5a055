"""End runs of several processes by SIGTERM at random moments, resume them, and compare them with an unbroken run.

    python experiments/2026-11-29_gpus-and-clusters/signals.py processes=2 tries=20 out=signals_2.json

``resume=no`` leaves out the resumed runs and the comparison. Given again with more ``tries`` and the same ``out``, the
command continues after the tries that are in the file. Each try names the commit that it was made with.

The processes are started as torchrun starts them, but forked from this one, so that torch is imported once. Like
torchrun, it ends the others by SIGTERM when one has ended; unlike it, it waits for 45 seconds before it kills them. In
each try the signal reaches all processes, the main one, or another one, during start-up, training or validation, in
every third try a second time; see ``plans``.
"""

import json
import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import jieba
import matplotlib.pyplot as plt  # noqa: F401 - imported once, before the processes are forked
import torch

from tangka_match.config import build
from tangka_match.records.environment import git_commit
from tangka_match.records.ledger import read_ledger
from tangka_match.retrieval.metadata import read_checkpoint
from tangka_match.sweeps import dispatch  # noqa: F401 - as above
from tangka_match.train import main

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from helpers.equal_states import same

WORDS = (
    "+experiment=debug",
    "trainer=ddp_cpu",
    "augmentation=strong",
    "training.ema_decay=0.9",
    "training.checkpoint_every_n_steps=4",
    "trainer.max_steps=-1",
    "trainer.log_every_n_steps=1",
    "data.batch_size=8",
    "data.writer.thumbnails=false",
)
STATES = ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers", "exact_resume")
STEPS = 20
LIMIT = 30.0
KILL_AFTER = 45.0


class Plan(NamedTuple):
    """Who gets the signal in one try, when, and how often."""

    who: str
    moment: str
    delay: float
    twice: bool


def plans(tries: int) -> list[Plan]:
    """Return the tries: each receiver, at each moment, in turn."""
    chance = random.Random(18)  # noqa: S311 - no secret
    moments = ("step", "step", "validation", "start")
    return [
        Plan(("all", "main", "other")[i % 3], moments[i % 4], chance.uniform(0.0, 0.5), twice=i % 3 == 2)
        for i in range(tries)
    ]


def start(words: list[str], processes: int, run_id: str, log: Path) -> list[int]:
    """Fork the processes of a run; return their ids in rank order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pids = []
    for rank in range(processes):
        pid = os.fork()
        if pid:
            pids.append(pid)
            continue
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), GROUP_RANK="0", WORLD_SIZE=str(processes), MASTER_ADDR="127.0.0.1",
            LOCAL_WORLD_SIZE=str(processes), MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="signals",
            TANGKA_MATCH_RUN_ID=run_id, GLOO_SOCKET_IFNAME="lo",
        )  # fmt: skip
        from pytorch_lightning.utilities import rank_zero_only  # noqa: PLC0415 - Lightning reads the rank when imported

        rank_zero_only.rank = rank
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["train", *words]
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException as error:
            print(repr(error), flush=True)
            code = 1
        os._exit(code)
    return pids


def wait(pids: list[int], seconds: float) -> dict[int, int]:
    """Wait until all processes have ended, or for ``seconds``; return the exit codes of those that have."""
    codes: dict[int, int] = {}
    deadline = time.monotonic() + seconds
    warned = False
    while len(codes) < len(pids) and time.monotonic() < deadline:
        for pid in set(pids) - codes.keys():
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                codes[pid] = os.waitstatus_to_exitcode(status)
        if codes and not warned:  # as torchrun does, which polls every 0.1 s to 5 s
            warned = True
            time.sleep(0.5)
            for pid in pids if any(codes.values()) else ():
                if pid not in codes:
                    os.kill(pid, signal.SIGTERM)
        time.sleep(0.05)
    return codes


def attempt(plan: Plan, words: list[str], processes: int, folder: Path) -> dict[str, Any]:
    """Start a run, end it as planned, and return what was seen."""
    pids = start(words, processes, "stopped", folder / "log.txt")
    ledger = folder / "runs" / "stopped" / "ledger.jsonl"
    step = random.Random(str(plan)).randint(2, STEPS - 4) if plan.moment == "step" else STEPS // 2 - 1  # noqa: S311
    pattern = re.compile(r'"event": "start"' if plan.moment == "start" else rf'"event": "metrics", .*"step": {step}\b')
    deadline = time.monotonic() + 120
    while not (ledger.exists() and pattern.search(ledger.read_text("utf-8"))) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(plan.delay if plan.moment != "validation" else 0.0)
    receivers = {"all": pids, "main": pids[:1], "other": pids[-1:]}[plan.who]
    begun = time.monotonic()
    for _ in range(1 + plan.twice):
        for pid in receivers:
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.1)
    codes = wait(pids, KILL_AFTER)
    seconds = time.monotonic() - begun
    for pid in set(pids) - codes.keys():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    events = read_ledger(ledger)
    ends = [event["status"] for event in events if event["event"] == "end"]
    written = [event["step"] for event in events if event["event"] == "checkpoint"]
    return {
        **plan._asdict(),
        "seconds": round(seconds, 1),
        "in_time": len(codes) == len(pids) and seconds < LIMIT,
        "codes": [codes.get(pid) for pid in pids],
        "end": ends[-1] if ends else None,
        "last_ckpt": written[-1] if written else 0,
        "logged_steps": max((e["step"] + 1 for e in events if e["event"] == "metrics"), default=0),
    }


def run(words: list[str], processes: int, run_id: str, folder: Path) -> None:
    """Train until the end."""
    pids = start(words, processes, run_id, folder / "log.txt")
    codes = wait(pids, 600.0)
    if set(codes.values()) != {0} or len(codes) < len(pids):
        for pid in set(pids) - codes.keys():
            os.kill(pid, signal.SIGKILL)
        raise RuntimeError(f"exit codes {list(codes.values())}: see {folder / 'log.txt'}")


def state(folder: Path) -> dict[str, Any]:
    """Return what must be equal: the states of both checkpoints, and the losses of all steps."""
    found: dict[str, Any] = {}
    for name in ("last", "best"):
        (path,) = folder.glob(f"checkpoints/*/*/{name}.ckpt")
        checkpoint = read_checkpoint(path)
        found[name] = {key: checkpoint.get(key) for key in STATES}
    (ledger,) = folder.glob("runs/*/ledger.jsonl")
    metrics = [e for e in read_ledger(ledger) if e["event"] == "metrics" and "train/loss" in e["values"]]
    found["losses"] = {e["step"]: e["values"]["train/loss"] for e in metrics}
    return found


def differences(expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return whether two states are bitwise equal, and how far losses and weights are apart."""
    losses, other_losses = expected["losses"], found["losses"]
    weights, other_weights = (states["last"]["state_dict"] for states in (expected, found))
    return {
        "nothing_lost": same(expected, found),
        "steps_compared": len(losses) if losses.keys() == other_losses.keys() else None,
        "largest_loss_difference": max(abs(losses[step] - other_losses.get(step, float("inf"))) for step in losses),
        "largest_weight_difference": max(
            (weights[name].double() - other_weights[name].double()).abs().max().item() for name in weights
        ),
    }


def measure(processes: int, tries: int, out: Path, *, resume: bool) -> None:
    """Make all tries, write them after each one, and print a summary."""
    kept = json.loads(out.read_text("utf-8")) if out.exists() else {"processes": processes, "tries": []}
    if kept["processes"] != processes:
        raise SystemExit(f"{out} holds tries of processes={kept['processes']}, not {processes}: choose another out")
    rows, commit = kept["tries"], git_commit()
    torch.set_num_threads(1)
    build.draw_curves = lambda events, path: path.write_bytes(b"")  # takes as long as the training
    loaded = jieba.Tokenizer().gen_pfdict(jieba.Tokenizer().get_dict_file())
    jieba.Tokenizer.gen_pfdict = lambda self, file: (dict(loaded[0]), loaded[1])  # reads it in seconds
    base = Path(tempfile.mkdtemp(prefix="signals_"))
    epochs = {2: 4, 4: 7}[processes]  # about 20 steps
    common = [*WORDS, f"trainer.devices={processes}", f"trainer.max_epochs={epochs}", f"paths.data={base / 'data'}"]

    def places(folder: Path) -> list[str]:
        return [f"paths.{name}={folder / name}" for name in ("runs", "checkpoints")]

    (base / "unbroken").mkdir()
    if resume:
        run([*common, *places(base / "unbroken")], processes, "unbroken", base / "unbroken")
    expected = state(base / "unbroken") if resume else {}
    for number, plan in list(enumerate(plans(tries)))[len(rows) :]:
        folder = base / str(number)
        folder.mkdir()
        load = os.getloadavg()[0]
        row = attempt(plan, [*common, *places(folder)], processes, folder)
        row |= {"commit": commit, "load": load, "nothing_lost": None}
        try:
            if resume:
                run(["resume=stopped", *places(folder)[:1]], processes, "stopped", folder)
                row |= differences(expected, state(folder))
        except (RuntimeError, ValueError) as error:
            row["nothing_lost"], row["error"] = False, str(error)
        print(json.dumps(row), flush=True)
        rows.append(row)
        out.write_text(json.dumps({"processes": processes, "tries": rows}, indent=1) + "\n", encoding="utf-8")
    print(summary(rows))


def summary(rows: list[dict[str, Any]]) -> str:
    """Count the tries that ended in time, that recorded their end, and that lost nothing."""
    counts = Counter(
        name
        for row in rows
        for name, holds in (
            (f"ended within {LIMIT:.0f} s", row["in_time"]),
            ("end in the ledger", row["end"] == "stopped"),
            ("bits of the unbroken run after resume", row["nothing_lost"]),
        )
        if holds
    )
    return f"{len(rows)} tries: " + ", ".join(f"{name} {count}" for name, count in counts.items())


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    measure(int(given["processes"]), int(given["tries"]), Path(given["out"]), resume=given.get("resume") != "no")
