"""Record the results of short seeded runs, to show that a restructuring does not change them.

The cases use the command line and files on disk only, so the same script runs on the commits before and after::

    python tests/golden/record.py --out before.json              # every case: about 8 minutes on one core
    python tests/golden/record.py --out after.json --only debug grid
    python tests/golden/record.py --compare before.json after.json

The record of a run holds every logged metric, the metrics of the best checkpoint and a SHA-256 of the weights. Strings
such as paths, run ids and `_target_` names are left out, because a restructuring may change them. Hashes are equal only
on the same kind of machine: record both sides on one machine. `PYTHONPATH=<checkout>/src` selects the code under test.
"""

import argparse
import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml

Record = dict[str, Any]
Words = tuple[str, ...]

# ---- settings of the runs: adapt this part when a setting is renamed -------------------------------------------------

SHORT = (
    "data=demo_small", "data.writer.thumbnails=false", "trainer.accelerator=cpu", "trainer.progress_bar=false",
    "trainer.log_every_n_steps=1", "logger=csv",
)  # fmt: skip
"""Overrides of every training run; those of a case follow and take precedence."""
DEBUG = ("+experiment=debug",)
LONGER = ("trainer.max_steps=20",)
TWO_EPOCHS = ("trainer.max_epochs=2", "training.early_stopping_patience=null", "scheduler.warmup_steps=2")
"""0.1 refuses `trainer.max_epochs=2` on `targeted` unless the other two settings change with it."""
SGRAF = ("data.batch_size=16", "trainer.max_steps=4", "model.embed_dim=32", "model.sim_dim=16", "model.word_dim=16")
RESUMED = ("+experiment=debug", "augmentation=strong", "training.ema_decay=0.9", "trainer.max_epochs=4",
           "trainer.max_steps=-1", "training.checkpoint_every_n_steps=4")  # fmt: skip
STOP_AFTER = 24  # of 40 steps: in the middle of the third epoch
TRAIN: dict[str, Words] = {
    "debug": DEBUG,
    "targeted": ("+experiment=targeted", *TWO_EPOCHS, "data.batch_size=32"),
    "sgraf_sgr": ("+experiment=sgraf_sgr", *SGRAF),
    "best": ("+experiment=best", "model.num_hashes=2048", "model.rank=128", "model.embed_dim=64"),
    "grid": ("-m", *DEBUG, "loss=triplet", "optimizer.lr=1e-3,3e-3", "seed=0,1"),
    "study": ("-m", *DEBUG, "hydra/sweeper=study", "loss=triplet", "optimizer.lr=interval(1e-4,3e-3)",
              "sweep.n_trials=4"),
}  # fmt: skip
LOSSES = ("blend", "hal", "momentum_queue", "multi_positive", "sigmoid", "soft_label")
"""`curriculum`, `info_nce`, `triplet` and `alignment_uniformity` are in `debug`, `noisy_pairs`, `grid` and `blend`."""
SMALL = ("trainer.max_steps=3", "model.embed_dim=32", "model.word_dim=16")
VARIANTS: dict[str, Words] = {
    "sgraf_saf": ("+experiment=sgraf_saf", *SGRAF),
    "enhanced": ("+experiment=enhanced", "model=vse_tiny", "trainer.max_steps=6", "scheduler.warmup_steps=2"),
    "chunked": (*DEBUG, "training.chunk_size=4", "augmentation=strong"),
    "swa": (*DEBUG, "training.swa_begin=0.5"),
    "noisy_pairs": (*DEBUG, *LONGER, "loss=info_nce", "training.noisy_pairs_from=0.3"),
    "hard_batches": (*DEBUG, *LONGER, "data.hard_batches=0.5"),
    "early_stopping": (*DEBUG, "training.early_stopping_patience=1", "trainer.max_steps=-1", "trainer.max_epochs=6",
                       "optimizer.lr=1.0e-7"),
    "lr_multipliers": (*DEBUG, "training.lr_multipliers={text_encoder: 0.1}", "scheduler=step_decay"),
    "competence": (*DEBUG, *LONGER, "data.initial_competence=0.5", "data.train_share=0.5", "data.min_count=2"),
    **{f"loss_{name}": (*DEBUG, f"loss={name}") for name in LOSSES},
    "model_cca": (*DEBUG, "model=cca", "model.embed_dim=16", "model.codebook_size=16", "model.num_hashes=256",
                  "model.rank=24"),
    "model_cross_modal_transformer": (*DEBUG, "model=cross_modal_transformer", *SMALL, "model.num_layers=1"),
    "model_dual_encoder": (*DEBUG, "model=dual_encoder", *SMALL, "model.character_dim=4"),
    "model_dual_path": (*DEBUG, "model=dual_path", *SMALL, "model.lstm_dim=16", "model.region_dim=16",
                        "model.hidden_dim=32"),
    "model_scan_i2t": (*DEBUG, "model=scan_i2t", *SMALL),
    "model_scan_t2i": (*DEBUG, "model=scan_t2i", *SMALL, "model.aggregation=log_sum_exp"),
    "model_sgraf_both": (*DEBUG, "model=sgraf_both", *SMALL, "model.sim_dim=16", "model.global_share=0.2"),
    "model_vse_infinity": (*DEBUG, "model=vse_infinity", *SMALL),
}  # fmt: skip
"""Runs that differ in a few settings. Each is written as a user's ``experiment/<name>.yaml``, and one grid trains them
all, because a process spends ten seconds on imports. `bert_vse` and `chinese_clip` need an encoder from a hub."""
SEEDS = (*DEBUG, "seeds=[0,1]", "ensemble=true")
DISTILLED = ("-m", *DEBUG, "distillation=score,rank")
EVALUATED: dict[str, Words] = {
    "plain": ("split=test",),
    "galleries": ("split=test", "protocol.gallery_size=10", "protocol.draws=5"),
    "hubness": (
        "split=val", "protocol.folds=2", "hubness=[qb_norm,nnn,inverted_softmax,sinkhorn,k_reciprocal]",
        "correction.nnn_k=32", "near_duplicates.threshold=0.05",
    ),
}  # fmt: skip
SHARED = Path(os.environ.get("TANGKA_MATCH_SHARED", Path(__file__).resolve().parents[3] / "shared"))
"""Where the published SGRAF checkpoints are; without them, the case `convert` is reported as skipped."""
IGNORED = re.compile(r"(^|_)(time|seconds|pid|per_second|memory|mtime|began|ended)($|_)")
"""Names of numbers that differ between runs with the same seed."""

# ---- commands -----------------------------------------------------------------------------------------------------


class Workshop:
    """Temporary folder with the demo set, and the commands that write to it.

    Args:
        root: Folder to write to.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}

    def arguments(self, name: str, *words: str) -> list[str]:
        """Return the process arguments of ``python -m tangka_match.<name>``."""
        return [sys.executable, "-m", f"tangka_match.{name}", *words]

    def command(self, name: str, *words: str) -> None:
        """Run a command; on failure, exit with its output."""
        done = subprocess.run(
            self.arguments(name, *words), env=self.env, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise SystemExit(f"{name} {' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")

    def places(self, case: str) -> Words:
        """Return the overrides that set the output folders of a case."""
        folder = self.root / case
        return (
            f"paths.data={self.data}",
            f"paths.runs={folder / 'runs'}",
            f"paths.checkpoints={folder / 'checkpoints'}",
        )

    def words(self, case: str, words: Words) -> list[str]:
        """Order the overrides: experiment, those of all runs, folders, those of the case."""
        first = [word for word in words if word in ("-m", "--config-dir") or word.startswith(("/", "+experiment"))]
        return [*first, *SHORT, *self.places(case), *(word for word in words if word not in first)]

    def train(self, case: str, words: Words) -> list[Record]:
        """Train, and return the runs in the order of jobs and seeds."""
        self.command("train", *self.words(case, words))
        return [read_run(run, self.root / case / "checkpoints") for run in self.runs(case)]

    def best(self, case: str) -> list[Path]:
        """Return every best.ckpt of a case, in the order of jobs and seeds."""
        return [next((self.root / case / "checkpoints").glob(f"*/{run.name}/best.ckpt")) for run in self.runs(case)]

    def runs(self, case: str) -> list[Path]:
        """Return the run folders of a case, in the order of jobs and seeds."""
        starts = [(read_jsonl(path)[0], path.parent) for path in (self.root / case / "runs").glob("*/ledger.jsonl")]
        return [run for _, run in sorted(starts, key=lambda item: (item[0].get("job") or 0, item[0]["seed"]))]

    def train_variants(self, names: list[str]) -> dict[str, Record]:
        """Train variants in one process, from experiment files in a separate config folder."""
        conf = self.root / "conf"
        (conf / "experiment").mkdir(parents=True)
        for name in names:
            written = yaml.safe_dump(experiment_file(f"golden_{name}", VARIANTS[name]), sort_keys=False)
            (conf / f"experiment/golden_{name}.yaml").write_text("# @package _global_\n" + written, encoding="utf-8")
        chosen = ",".join(f"golden_{name}" for name in names)
        runs = self.train("variants", ("-m", "--config-dir", str(conf), f"+experiment={chosen}"))
        return dict(zip(names, runs, strict=True))


def experiment_file(name: str, words: Words) -> Record:
    """Return the content of an experiment file that is equivalent to command-line overrides.

    >>> experiment_file("mine", ("+experiment=debug", "loss=hal", "trainer.max_steps=3"))
    {'defaults': ['debug', {'override /loss': 'hal'}, '_self_'], 'name': 'mine', 'trainer': {'max_steps': 3}}
    """
    defaults: list[Any] = []
    content: Record = {"defaults": defaults, "name": name}
    for key, _, value in (word.partition("=") for word in words):
        if key == "+experiment":
            defaults.append(value)
        elif "." not in key:
            defaults.append({f"override /{key}": value})
        else:
            group, setting = key.split(".")
            content.setdefault(group, {})[setting] = yaml.safe_load(value)
    defaults.append("_self_")
    return content


def read_jsonl(path: Path) -> list[Record]:
    """Read a file with one JSON object per line."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def weights_hash(path: Path) -> str:
    """Compute the SHA-256 of the names, types, shapes and bytes of the weights of a checkpoint, sorted by name."""
    digest = hashlib.sha256()
    for name, value in sorted(torch.load(path, map_location="cpu", weights_only=True)["state_dict"].items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_run(folder: Path, checkpoints: Path) -> Record:
    """Read the results of one run: logged metrics by step, result, weights."""
    events = read_jsonl(folder / "ledger.jsonl")
    metrics: dict[str, Record] = {}
    for event in events:
        if event["event"] == "metrics":  # a resumed run logs the steps after its last checkpoint again
            for name, value in event["values"].items():
                metrics.setdefault(name, {})[f"{event['epoch']}/{event['step']}"] = value
    result_file = folder / "result.json"
    result = json.loads(result_file.read_text(encoding="utf-8")) if result_file.exists() else {}
    kept = ("best_epoch", "best_step", "total_steps", "num_parameters", "val_metrics", "val_ci95")
    ranks = folder / "ranks.csv"
    return {
        "metrics": metrics,
        "csv_rows": len((folder / "metrics.csv").read_text(encoding="utf-8").splitlines()),
        "verdicts": [event["code"] for event in events if event["event"] == "verdict"],
        "status": events[-1].get("status"),
        "result": {name: result.get(name) for name in kept},
        "fingerprints": [result.get("data_fingerprint"), result.get("vocabulary_fingerprint")],
        "ranks": file_hash(ranks) if ranks.exists() else None,
        "weights": {path.name: weights_hash(path) for path in sorted(checkpoints.glob(f"*/{folder.name}/*.ckpt"))},
    }


def numbers(content: Any) -> Any:
    """Keep the numbers, booleans and nulls of a JSON document; strings hold paths and ids, which differ."""
    if isinstance(content, dict):
        return {k: numbers(v) for k, v in content.items() if not isinstance(v, str) and not IGNORED.search(k)}
    if isinstance(content, list):
        return [numbers(v) for v in content if not isinstance(v, str)]
    return content


def read_evaluation(out: Path) -> Record:
    """Read the numbers of an evaluation, and the hashes of its tables."""
    metrics = numbers(json.loads((out / "metrics.json").read_text(encoding="utf-8")))
    return {"metrics": metrics, "ranks": file_hash(out / "ranks.csv"), "similarity": file_hash(out / "similarity.npy")}


# ---- cases of several commands ------------------------------------------------------------------------------------


def distillation(shop: Workshop) -> Record:
    """Train two students on a teacher with another vocabulary."""
    teacher = shop.train("teacher", (*DEBUG, "data.min_count=4", "seed=1"))
    (path,) = shop.best("teacher")
    return {"teacher": teacher, "students": shop.train("students", (*DISTILLED, f"distillation.teachers=[{path}]"))}


def evaluate(shop: Workshop) -> Record:
    """Train two seeds; evaluate them and their ensemble, compare them, and diagnose one."""
    root, outs = shop.data / "demo_small", {}
    seeds = shop.train("seeds", SEEDS)
    (sweep,) = (shop.root / "seeds/runs/sweeps").glob("*/manifest.jsonl")
    first, second = shop.best("seeds")
    requests = {name: (str(first), words) for name, words in EVALUATED.items()}
    requests |= {"second": (str(second), EVALUATED["plain"]), "ensemble": (f"[{first},{second}]", ("split=test",))}
    for name, (checkpoint, words) in requests.items():
        out = shop.root / f"out_{name}"
        shop.command("evaluate", f"checkpoint={checkpoint}", f"data.root={root}", f"out={out}", *words)
        outs[name] = read_evaluation(out)
    found = shop.root / "compared.json"
    sides = (f"a={shop.root / 'out_plain'}", f"b={shop.root / 'out_second'}")
    shop.command("compare", *sides, f"out={found}", "resamples=2000")
    out, run = shop.root / "diagnosed", shop.runs("seeds")[0]
    shop.command("diagnose", f"data.root={root}", f"run={run.name}", f"paths.runs={run.parent}", f"out={out}")
    return {
        "seeds": seeds,
        "summary": numbers(read_jsonl(sweep)[-1]),
        "evaluate": outs,
        "compare": numbers(json.loads(found.read_text(encoding="utf-8"))),
        "diagnose": numbers(json.loads((out / "diagnosis.json").read_text(encoding="utf-8"))),
    }


def convert(shop: Workshop) -> Record | None:
    """Convert the published SGRAF checkpoints, evaluate them, and convert one back; ``None`` without the fixtures."""
    if not (SHARED / "fixtures").is_dir():
        return None
    found: Record = {}
    for reasoning in ("sgr", "saf"):
        legacy, ours = SHARED / f"fixtures/legacy_{reasoning}", shop.root / f"{reasoning}.ckpt"
        vocab = f"vocab={legacy / 'vocab/mini_precomp_vocab.json'}"
        shop.command("convert", f"source={legacy / 'model_best.pth.tar'}", vocab, f"out={ours}")
        out = shop.root / f"out_{reasoning}"
        data = f"data.root={legacy / 'data/mini_precomp'}"
        shop.command("evaluate", f"checkpoint={ours}", data, "split=test", f"out={out}")
        found[reasoning] = {"weights": weights_hash(ours), **read_evaluation(out)}
    back = shop.root / "back.pth.tar"
    shop.command("convert", f"source={shop.root / 'sgr.ckpt'}", "to=sgraf", f"out={back}")
    found["vocabulary_back"] = file_hash(shop.root / "mini_precomp_vocab.json")
    return found


def resume(shop: Workshop) -> Record:
    """Stop a run by SIGTERM, resume it, and record it and an uninterrupted run."""
    unbroken = shop.train("unbroken", RESUMED)
    arguments = shop.arguments("train", *shop.words("broken", RESUMED))
    process = subprocess.Popen(arguments, env=shop.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = shop.root / "broken/runs"
    while not any(f'"step": {STOP_AFTER}' in path.read_text("utf-8") for path in runs.glob("*/ledger.jsonl")):
        if process.poll() is not None:
            raise SystemExit("resume: the run ended before it could be stopped")
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    if process.wait(timeout=120) != 128 + signal.SIGTERM:
        raise SystemExit(f"resume: the stopped run ended with {process.returncode}")
    shop.command("train", "resume=last", f"paths.runs={runs}")
    (ledger,) = runs.glob("*/ledger.jsonl")
    return {"unbroken": unbroken, "resumed": read_run(ledger.parent, shop.root / "broken/checkpoints")}


OTHERS: dict[str, Callable[[Workshop], Record | None]] = {
    "distillation": distillation,
    "evaluate": evaluate,
    "convert": convert,
    "resume": resume,
}

# ---- comparing ----------------------------------------------------------------------------------------------------


def differences(a: Any, b: Any) -> list[float]:
    """Compute the absolute differences of two records: 0 between two NaN, infinite where anything else differs."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [d for k in {*a, *b} for d in (differences(a[k], b[k]) if k in a and k in b else [math.inf])]
    if isinstance(a, list) and isinstance(b, list):
        return [d for x, y in zip(a, b, strict=False) for d in differences(x, y)] + [math.inf] * (len(a) != len(b))
    if isinstance(a, int | float) and isinstance(b, int | float) and not isinstance(a, bool):
        return [0.0 if a == b or (math.isnan(a) and math.isnan(b)) else abs(a - b)]
    return [0.0 if a == b else math.inf]


def compare(before: Path, after: Path) -> int:
    """Print name, verdict and largest difference per case; return 1 if any number differs or a case is missing."""
    a, b = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    worst = {}
    print(f"{'case':28} {'equal':6} max difference")
    for name in sorted({*a, *b}):
        found = differences(a[name], b[name]) if name in a and name in b else [math.inf]
        worst[name] = max(found, default=0.0)
        shown = f"{worst[name]:g}" if name in a and name in b else "missing on one side"
        print(f"{name:28} {'yes' if worst[name] == 0.0 else 'NO':6} {shown}")
    return int(any(worst.values()))


def record(names: list[str], out: Path) -> None:
    """Run the cases and write the record after each of them."""
    records: Record = {}
    with tempfile.TemporaryDirectory() as folder:
        shop = Workshop(Path(folder))
        shop.command("demo_data", "data=demo_small", "data.writer.thumbnails=false", f"paths.data={shop.data}")
        variants = [name for name in names if name in VARIANTS]
        for name in [name for name in names if name not in VARIANTS] + ["variants"] * bool(variants):
            began, label = time.monotonic(), name
            if name == "variants":
                records |= {key: [run] for key, run in shop.train_variants(variants).items()}
                label = f"{len(variants)} variants"
            else:
                records[name] = OTHERS[name](shop) if name in OTHERS else shop.train(name, TRAIN[name])
            skipped = "  SKIPPED: its fixtures are not here" if records.get(name, True) is None else ""
            print(f"{label:28} {time.monotonic() - began:5.1f} s{skipped}", flush=True)
            out.write_text(json.dumps(records, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Record the cases, or compare two records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="file to write")
    what.add_argument("--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"))
    known = [*TRAIN, *OTHERS, *VARIANTS]
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=known, help=f"cases, of {' '.join(known)}")
    options = parser.parse_args()
    if options.compare:
        sys.exit(compare(*options.compare))
    record(options.only or known, options.out)


if __name__ == "__main__":
    main()
