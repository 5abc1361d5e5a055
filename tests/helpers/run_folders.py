"""Run folders with the files that lists and reports read, written without training."""

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

BEGAN = 1_790_000_000.0
RECALLS = [f"{direction}_r{k}" for direction in ("i2t", "t2i") for k in (1, 5, 10)]


SMALL = {
    "data": {"root": "data/demo_small", "batch_size": 32},
    "model": {"_target_": "tangka_match.models.VSE", "embed_dim": 64},
    "loss": {"_target_": "tangka_match.losses.TripletMarginLoss", "margin": 0.2},
    "optimizer": {"lr": 5e-4},
    "name": "targeted",
    "tags": ["unit"],
}


def write_run(
    runs: Path,
    run_id: str,
    *,
    r1: float = 30.0,
    seed: int = 0,
    status: str | None = "finished",
    config: Mapping[str, Any] | None = None,
    steps: int = 40,
    every: int = 2,
    began: float = BEGAN,
    step_seconds: float = 1.0,
    ranks: bool = False,
    **start: Any,
) -> Path:
    """Write a run whose R@1, R@5 and R@10 grow to ``r1``, 2 ``r1`` and 2.4 ``r1``.

    Args:
        runs: Folder of the runs.
        run_id: Id of the run.
        r1: R@1 of the best checkpoint, in percent.
        seed: Seed of the run and of the noise in its losses.
        status: Status in the ``end`` event; ``None`` writes no such event.
        config: Top-level keys that replace those of a small config.
        steps: Number of optimizer steps.
        every: Steps between logged losses; validations are five times as far apart.
        began: Time of the ``start`` event, in seconds since 1970.
        step_seconds: Duration of a step, in seconds.
        ranks: Whether to write a ``ranks.csv`` of 100 pairs.
        start: Further fields of the ``start`` event.
    """
    folder = runs / run_id
    folder.mkdir(parents=True)
    whole = {"paths": {"runs": str(runs)}, **SMALL, "seed": seed, **(config or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), "utf-8")
    values = dict(zip(RECALLS, 2 * [r1, min(100.0, 2 * r1), min(100.0, 2.4 * r1)], strict=True))
    best = {**values, "mean_r1": r1, "rsum": sum(values.values())}
    about = {"run_id": run_id, "name": whole["name"], "tags": whole["tags"], "seed": seed}
    about |= {"data_fingerprint": "f00d", "git_commit": "abc", **start}
    lines = [{"event": "start", "time": began, **about}, *_metrics(best, seed, steps, every, began, step_seconds)]
    if status is not None:
        lines.append({"event": "end", "time": began + steps * step_seconds + 1, "status": status})
    (folder / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    if status == "finished":
        intervals = {name: [max(0.0, value - 4), value + 4] for name, value in best.items()}
        result = {
            "val_metrics": best,
            "val_ci95": intervals,
            "best_step": steps,
            "num_images": 100,
            "num_captions": 100,
        }
        (folder / "result.json").write_text(json.dumps(result), "utf-8")
    if ranks:
        _write_ranks(folder / "ranks.csv", r1, seed)
    return folder


def _metrics(best, seed, steps, every, began, step_seconds):  # noqa: PLR0917
    noise = random.Random(seed)  # noqa: S311 - not a secret
    for step in range(every - 1, steps, every):
        done = (step + 1) / steps
        time = began + (step + 1) * step_seconds
        losses = {
            "train/loss": 0.2 + math.exp(-3 * done) * (1 + 0.2 * noise.random()),
            "train/lr": 1e-3 * (1 - done) + 1e-6,
        }
        yield {"event": "metrics", "time": time, "step": step, "epoch": 0, "values": losses}
        if (step + 1) % (5 * every) == 0 or step + 1 == steps:
            recalls = {
                f"val/{name}": value * (1 - math.exp(-4 * done)) / (1 - math.exp(-4)) for name, value in best.items()
            }
            yield {"event": "metrics", "time": time + 0.1, "step": step, "epoch": 0, "values": recalls}


def _write_ranks(path: Path, r1: float, seed: int) -> None:
    draws = random.Random(seed)  # noqa: S311 - not a secret
    rows = []
    for direction in ("i2t", "t2i"):
        right = set(draws.sample(range(100), round(r1)))
        names = [f"image-{n}" if direction == "i2t" else str(n) for n in range(100)]
        rows += [f"{direction},{name},image-{n},{1 if n in right else 7}" for n, name in enumerate(names)]
    path.write_text("direction,query,image,rank\n" + "\n".join(rows) + "\n", "utf-8")
