"""Walk through what Slurm would do with a sweep, with submitit's local executor in its place.

    python experiments/2026-11-29_gpus-and-clusters/slurm_walk.py out=slurm_walk.json

1. A command of two processes where Slurm has started one is refused.
2. A sweep of two jobs is submitted with a limit of two minutes per job. submitit sends its signal 30 seconds before the
   limit; the job that is still running stops, is requeued, and continues its run.
3. The result of that run is compared with the same run without a sweep and without a limit, bitwise.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from signals import differences, state

from tangka_match.records.ledger import read_ledger

WORDS = (
    "+experiment=debug",
    "augmentation=strong",
    "training.ema_decay=0.9",
    "trainer.max_steps=-1",
    "trainer.log_every_n_steps=1",
    "data.batch_size=8",
    "data.writer.thumbnails=false",
)
EPOCHS = (1, 24)
SALLOC = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1"}


def train(*words: str, environment: dict[str, str] | None = None) -> tuple[int, str, float]:
    """Run ``train``; return its exit code, its output, and the seconds it took."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tangka_match.train", *words]
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode(), round(time.monotonic() - began, 1)


def places(base: Path, name: str) -> list[str]:
    """Return the overrides that keep the files of a command in a folder."""
    kept = [f"paths.{kind}={base / name / kind}" for kind in ("runs", "checkpoints")]
    return [f"paths.data={base / 'data'}", *kept]


def refused(base: Path) -> dict[str, Any]:
    """Start two processes where Slurm has started one."""
    code, output, _ = train(*WORDS, "trainer=ddp_cpu", *places(base, "refused"), environment=SALLOC)
    return {"exit_code": code, "message": output.strip(), "runs": len(list(base.glob("refused/runs/*")))}


def swept(base: Path) -> dict[str, Any]:
    """Sweep over a short and a long run, of which the long one reaches its time limit."""
    launcher = ("hydra/launcher=submitit_local", "hydra.launcher.timeout_min=2")
    epochs = f"trainer.max_epochs={','.join(map(str, EPOCHS))}"
    code, output, seconds = train("-m", *WORDS, epochs, *launcher, *places(base, "sweep"))
    runs = {}
    for ledger in base.glob("sweep/runs/*/ledger.jsonl"):
        events = read_ledger(ledger)
        runs[str(len([e for e in events if e["event"] == "metrics" and "val/mean_r1" in e["values"]]))] = {
            "ends": [event["status"] for event in events if event["event"] == "end"],
            "last_ckpt_at_each_end": [
                max(e["step"] for e in events[:i] if e["event"] == "checkpoint")
                for i, event in enumerate(events)
                if event["event"] == "end"
            ],
        }
    folders = list(base.glob("sweep/runs/sweeps/*/.submitit/*"))
    logs = [path.read_text("utf-8") for end in ("err", "out") for at in folders for path in at.glob(f"*.{end}")]
    lines = [re.sub(r"^.*?(INFO|WARNING):", "", line) for text in logs for line in text.splitlines()]
    said = [line for line in lines if "Caught signal" in line or "Requeued" in line]
    summary = [line for line in output.splitlines() if "jobs finished" in line]
    return {"exit_code": code, "seconds": seconds, "summary": summary, "runs_by_epochs": runs, "submitit": said}


def compared(base: Path) -> dict[str, Any]:
    """Repeat the long run without a limit, and compare weights, states and losses."""
    long = max(base.glob("sweep/runs/*/ledger.jsonl"), key=lambda path: path.stat().st_size).parent.name
    only = base / "requeued"
    for kind in ("runs", "checkpoints"):
        (folder,) = (path for path in base.glob(f"sweep/{kind}/**/{long}") if path.is_dir())
        target = only / folder.relative_to(base / "sweep")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(folder)
    code, output, seconds = train(*WORDS, f"trainer.max_epochs={EPOCHS[-1]}", *places(base, "unbroken"))
    if code:
        raise RuntimeError(output)
    return {"seconds_unbroken": seconds, **differences(state(base / "unbroken"), state(only))}


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    base = Path(tempfile.mkdtemp(prefix="slurm_walk_"))
    found: dict[str, Any] = {"load": os.getloadavg()[0]}
    for step in (refused, swept, compared):
        found[step.__name__] = step(base)
        print(json.dumps({step.__name__: found[step.__name__]}, indent=1), flush=True)
    Path(given["out"]).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
