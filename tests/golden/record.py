"""Record what short seeded runs compute, to show that a restructuring changes no number.

Runs use the command line and files on disk only, so one script serves the commit before and the commit after::

    python tests/golden/record.py --out before.json              # all cases: up to a minute each on a busy core
    python tests/golden/record.py --out after.json --only debug grid
    python tests/golden/record.py --compare before.json after.json

Of each run it keeps every logged metric, the metrics of the best checkpoint and a SHA-256 of the weights. Hashes are
equal on the same kind of machine only: record both sides on one machine.
"""

import argparse
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

Record = dict[str, Any]

SHORT = ("data=demo_small", "trainer=cpu", "trainer.progress_bar=false", "trainer.log_every_n_steps=1", "logger=csv")
"""Overrides of every training run; those of a case come after them and win."""
TINY_SGRAF = (
    "data.batch_size=16",
    "trainer.max_steps=4",
    "model.embed_dim=32",
    "model.sim_dim=16",
    "model.word_dim=16",
)
DEBUG = ("+experiment=debug",)
TRAIN = {
    "debug": DEBUG,
    "targeted": (
        "+experiment=targeted", "trainer.max_epochs=2", "training.early_stopping_patience=null", "data.batch_size=32",
        "scheduler.warmup_steps=2",
    ),
    "enhanced": (
        "+experiment=enhanced", "trainer.max_epochs=2", "training.early_stopping_patience=null", "data.batch_size=32",
        "scheduler.warmup_steps=2",
    ),
    "sgraf_sgr": ("+experiment=sgraf_sgr", *TINY_SGRAF),
    "sgraf_saf": ("+experiment=sgraf_saf", *TINY_SGRAF),
    "best": ("+experiment=best",),
    "strong_augmentation": (*DEBUG, "augmentation=strong"),
    "averaged": (*DEBUG, "training.ema_decay=0.9"),
    "tail_averaged": (*DEBUG, "training.swa_begin=0.5"),
    "chunked": (*DEBUG, "training.chunk_size=4"),
    "weighed_pairs": (*DEBUG, "loss=info_nce", "training.noisy_pairs_from=0.5"),
    "hard_batches": (*DEBUG, "data.hard_batches=0.5"),
    "seeds": (*DEBUG, "seeds=[0,1]"),
    "grid": (*DEBUG, "-m", "seed=0,1", "loss.margin=0.1,0.2", "loss=triplet"),
    "study": (*DEBUG, "-m", "hydra/sweeper=study", "loss=triplet", "loss.margin=interval(0.1,0.3)", "sweep.n_trials=4"),
}  # fmt: skip
LOSSES = (
    "alignment_uniformity", "blend", "curriculum", "hal", "info_nce", "momentum_queue", "multi_positive", "sigmoid",
    "soft_label", "triplet",
)  # fmt: skip
MODELS = ("dual_encoder", "dual_path", "scan_i2t", "scan_t2i", "cross_modal_transformer", "vse_infinity", "vse")
TRAIN |= {f"loss_{name}": (*DEBUG, f"loss={name}") for name in LOSSES}
TRAIN |= {f"model_{name}": (*DEBUG, f"model={name}", "trainer.max_steps=2") for name in MODELS}


def command(name: str, *words: str) -> None:
    """Run ``python -m tangka_match.<name>``; a failure ends the script with the command's own message."""
    done = subprocess.run(
        [sys.executable, "-m", f"tangka_match.{name}", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{name} {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")


def weights_hash(path: Path) -> str:
    """SHA-256 over the names, types, shapes and bytes of a checkpoint's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(torch.load(path, map_location="cpu", weights_only=True)["state_dict"].items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_run(folder: Path, checkpoints: Path) -> Record:
    """What one run computed: logged metrics in order, result, weights."""
    events = [json.loads(line) for line in (folder / "ledger.jsonl").read_text(encoding="utf-8").splitlines()]
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    kept = {path.name: weights_hash(path) for path in sorted(checkpoints.glob(f"*/{folder.name}/*.ckpt"))}
    return {
        "metrics": [[e["step"], e["epoch"], e["values"]] for e in events if e["event"] == "metrics"],
        "verdicts": [e["code"] for e in events if e["event"] == "verdict"],
        "best": {
            name: result[name] for name in ("best_step", "total_steps", "num_parameters", "val_metrics", "val_ci95")
        },
        "weights": kept,
    }


def train(data: Path, root: Path, words: tuple[str, ...]) -> list[Record]:
    """The runs that a command makes, in the order of their jobs."""
    first = [word for word in words if word.startswith("+experiment")]
    rest = [word for word in words if word not in first]
    places = (f"paths.data={data}", f"paths.runs={root / 'runs'}", f"paths.checkpoints={root / 'checkpoints'}")
    command("train", *first, *SHORT, *places, *rest)
    folders = [path.parent for path in sorted((root / "runs").glob("*/ledger.jsonl"))]
    runs = [(json.loads((f / "ledger.jsonl").read_text(encoding="utf-8").splitlines()[0]), f) for f in folders]
    ordered = sorted(runs, key=lambda run: (run[0].get("job", 0), run[0]["seed"]))
    return [read_run(folder, root / "checkpoints") for _, folder in ordered]


def evaluate_and_compare(data: Path, root: Path) -> Record:
    """Metrics that ``evaluate`` writes for two checkpoints, and what ``compare`` says of them."""
    for seed in (0, 1):
        train(data, root / f"seed{seed}", (*DEBUG, f"seed={seed}"))
    outs = [root / f"evaluated{seed}" for seed in (0, 1)]
    for seed, out in enumerate(outs):
        best = next((root / f"seed{seed}" / "checkpoints").glob("*/*/best.ckpt"))
        command("evaluate", f"checkpoint={best}", "data=demo_small", f"paths.data={data}", "split=test", f"out={out}")
    command("compare", f"a={outs[0]}", f"b={outs[1]}", f"out={root / 'compared'}")
    files = sorted(path for folder in (*outs, root / "compared") for path in folder.rglob("*.json"))
    ranks = [hashlib.sha256((out / "ranks.csv").read_bytes()).hexdigest() for out in outs]
    return {"ranks": ranks, "files": [_numbers(json.loads(path.read_text(encoding="utf-8"))) for path in files]}


def _numbers(content: Any) -> Any:
    """The numbers of a JSON file by name; texts hold paths and run ids, which differ."""
    if isinstance(content, dict):
        return {k: _numbers(v) for k, v in content.items() if isinstance(v, dict | list | int | float) and k != "time"}
    if isinstance(content, list):
        return [_numbers(v) for v in content if isinstance(v, dict | list | int | float)]
    return content


def differences(a: Any, b: Any) -> list[float]:
    """Absolute differences of two records' numbers, NaN equal to NaN; infinite where anything else differs."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in {*a, *b} for d in (differences(a[k], b[k]) if k in a and k in b else [math.inf])]
    if isinstance(a, list) and isinstance(b, list):
        return [d for x, y in zip(a, b, strict=False) for d in differences(x, y)] + [math.inf] * (len(a) != len(b))
    if isinstance(a, float) and isinstance(b, float):
        return [0.0 if a == b or (math.isnan(a) and math.isnan(b)) else abs(a - b)]
    return [0.0 if a == b else math.inf]


def compare(before: Path, after: Path) -> int:
    """Print one line per case; returns 1 if any number differs."""
    a, b = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    worst = {name: max(differences(a.get(name), b.get(name)), default=0.0) for name in sorted({*a, *b})}
    for name, value in worst.items():
        print(f"{name:28} {'equal' if value == 0.0 else f'differs by up to {value:g}'}")
    return int(any(value != 0.0 for value in worst.values()))


def main() -> None:
    """Record the cases, or compare two records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--compare", nargs=2, type=Path)
    options = parser.parse_args()
    if options.compare:
        sys.exit(compare(*options.compare))
    records: Record = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        for name in options.only or [*TRAIN, "evaluate_compare"]:
            began, root = time.monotonic(), Path(folder) / name
            records[name] = (
                evaluate_and_compare(data, root) if name == "evaluate_compare" else train(data, root, TRAIN[name])
            )
            print(f"{name:28} {time.monotonic() - began:5.1f} s", flush=True)
            options.out.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
