"""Recipes on the features of a real CNN (f8kcn): train, score test5, print the table; resumes where it stopped.

    python experiments/2026-11-29_real-features/real_features.py WORK --small f8kcn_small [--full f8kcn_full] \
        [--demo demo] [--encoder me5_small_zh] [--rows "cca;targeted"] [--seeds 0,1,2]

WORK takes the run folders and checkpoints. A final run leaves `runs/<row>-<seed>/` beside this file: `run.json`
(command, commit, machine, seconds), `ranks.csv` and `scores.npy` (test5, float16). It is not trained again while its
command is the same, so that the table can be printed without any data. `--rows ""` only prints the table.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from collect import read_run
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.retrieval.protocols import EvaluationProtocol, rank_galleries

RUNS = Path(__file__).parent / "runs"
TABLE = Path(__file__).parent / "results.json"
GALLERIES = EvaluationProtocol(gallery_size=363, draws=50, seed=0)
CAPTIONS_PER_IMAGE = 5


class Row(NamedTuple):
    """A recipe: words of the command, and the data set that it trains on."""

    words: list[str]
    trained_on: str = "small"


ENCODER = ["model.text_model=<encoder>", "data.tokenizer.prefix='query: '"]
INFO_NCE = ["loss=info_nce", "loss.temperature=0.1", "loss.learn_temperature=false"]
BASE = ["model=vse_infinity", "optimizer=adamw", "scheduler=cosine"]
VSE_INFINITY = ["model=vse_infinity", *INFO_NCE, "optimizer=adamw", "scheduler=cosine"]
WORDS = ["loss=word_prediction", *(word.replace("loss.", "loss.parts.info_nce.") for word in INFO_NCE[1:])]
SGRAF = [
    "loss=curriculum", "optimizer=adamw", "optimizer.lr=2e-4", "scheduler=cosine",
    "training.checkpoint_every_n_steps=40",
]  # fmt: skip
FAST = [word.replace("2e-4", "1e-3") for word in SGRAF]
CHARACTERS = ["data.character_fallback=true", "data.min_count=2"]
BY_RSUM = "training.monitor=val/rsum"
LARGER = "data.mix=[{root: <full>, share: 0.5}]"
DEMO = "data.mix=[{root: <demo>, share: 0.5}]"
TEACHER = "distillation.teachers=[<teacher>]"
START = "init_from=<start>"
TRAINED_FIRST = {"teacher": "best", "start": "vse_infinity, rate 1e-3, larger set alone"}
"""Placeholders of checkpoints, and the rows that are trained for them."""
SENTENCES = ["distillation=sentences", "distillation.text_model=<encoder>", "distillation.text_prefix='query: '"]
FILTER = ["distillation.weight=0", "distillation.same_above=0.8"]
BERT = ["model=bert_vse", *ENCODER, "data/tokenizer=pieces", *VSE_INFINITY[1:], "trainer.max_epochs=12"]
LAYERS = {f"text_tower.transformer.encoder.layer.{k}": 0.1 * 0.8 ** (11 - k) for k in range(12)}
LAYERS["text_tower.transformer.embeddings"] = 0.1 * 0.8**12
RATES = ",".join(f"{name}: {rate:.4f}" for name, rate in LAYERS.items())
PRETRAINED = ["+experiment=best_pretrained", *ENCODER]
ENSEMBLE = "+experiment=best_ensemble"
NEITHER = ["model.hub_weight=0", "model.sentence_kernel=linear"]
ROWS = {
    "targeted": Row(["+experiment=targeted"]),
    "enhanced": Row(["+experiment=enhanced"]),
    "vse_infinity": Row([*VSE_INFINITY, "trainer.max_epochs=12"]),
    "vse_infinity, rate 1e-3": Row([*VSE_INFINITY, "optimizer.lr=1e-3", "trainer.max_epochs=12"]),
    "vse_infinity, word prediction": Row([*BASE, *WORDS, "trainer.max_epochs=12"]),
    "vse_infinity, soft labels": Row([*VSE_INFINITY, *SENTENCES, "trainer.max_epochs=12"]),
    "targeted, chosen by rsum": Row(["+experiment=targeted", BY_RSUM]),
    "targeted, characters, chosen by rsum": Row(["+experiment=targeted", *CHARACTERS, BY_RSUM]),
    "vse_infinity, chosen by rsum": Row([*VSE_INFINITY, "trainer.max_epochs=12", BY_RSUM]),
    "vse_infinity, characters, chosen by rsum": Row([*VSE_INFINITY, *CHARACTERS, "trainer.max_epochs=12", BY_RSUM]),
    "vse_infinity, filtered negatives, chosen by rsum": Row(
        [*VSE_INFINITY, *SENTENCES, *FILTER, "trainer.max_epochs=12", BY_RSUM]
    ),
    "bert_vse, frozen": Row([*BERT, "model.thaw_at=1"]),
    "bert_vse, thawed": Row([*BERT, "model.thaw_at=0.25"]),
    "bert_vse, thawed, layer-wise rates": Row([*BERT, "model.thaw_at=0.25", f"training.lr_multipliers={{{RATES}}}"]),
    "sgraf_saf, rate 1e-3": Row(["model=sgraf_saf", *FAST, "trainer.max_epochs=8"]),
    "cca, words only": Row(["+experiment=cca", "data.character_fallback=false"]),
    "cca": Row(["+experiment=cca"]),
    "cca, larger set": Row(["+experiment=cca", LARGER]),
    "cca, 500 pairs": Row(["+experiment=cca", "data.train_share=0.1718"]),
    "best": Row(["+experiment=best"]),
    "best, 500 pairs": Row(["+experiment=best", "data.train_share=0.1718"]),
    "best_ensemble": Row([ENSEMBLE]),
    "vse_infinity, distilled": Row([*VSE_INFINITY, "distillation=score", TEACHER, "trainer.max_epochs=12"]),
    "best, larger set": Row(["+experiment=best", LARGER]),
    "best, demo set": Row(["+experiment=best", DEMO]),
    "best_pretrained, no correction, linear": Row([*PRETRAINED, *NEITHER]),
    "best_pretrained, no correction, linear, larger set": Row([*PRETRAINED, *NEITHER, LARGER]),
    "best_pretrained, no correction": Row([*PRETRAINED, "model.hub_weight=0"]),
    "best_pretrained, linear": Row([*PRETRAINED, "model.sentence_kernel=linear"]),
    "best_pretrained": Row(PRETRAINED),
    "best_pretrained, 500 pairs": Row([*PRETRAINED, "data.train_share=0.1718"]),
    "best_pretrained, larger set": Row([*PRETRAINED, LARGER]),
    "vse_infinity, rate 1e-3, larger set alone": Row(
        [*VSE_INFINITY, "optimizer.lr=1e-3", "trainer.max_epochs=4", "data.exclude=<small>/train_ids.txt"], "full"
    ),
    "vse_infinity, started on the larger set": Row([*VSE_INFINITY, START, "trainer.max_epochs=12"]),
    "vse_infinity, larger set": Row([*VSE_INFINITY, LARGER, "trainer.max_epochs=12"]),
    "vse_infinity, full set, 2 epochs": Row([*VSE_INFINITY, "trainer.max_epochs=2"], "full"),
    "vse_infinity, rate 1e-3, full set, 2 epochs": Row(
        [*VSE_INFINITY, "optimizer.lr=1e-3", "trainer.max_epochs=2"], "full"
    ),
    "sgraf_sgr, full set, 2 epochs": Row(["model=sgraf_sgr", *SGRAF, "trainer.max_epochs=2"], "full"),
    "sgraf_saf, full set, 2 epochs": Row(["model=sgraf_saf", *SGRAF, "trainer.max_epochs=2"], "full"),
    "sgraf_sgr, rate 1e-3, full set, 2 epochs": Row(["model=sgraf_sgr", *FAST, "trainer.max_epochs=2"], "full"),
    "sgraf_saf, rate 1e-3, full set, 2 epochs": Row(["model=sgraf_saf", *FAST, "trainer.max_epochs=2"], "full"),
    "vse_infinity, rate 1e-3, full set, 5 epochs": Row(
        [*VSE_INFINITY, "optimizer.lr=1e-3", "trainer.max_epochs=5"], "full"
    ),
    "sgraf_sgr, rate 1e-3, full set, 4 epochs": Row(["model=sgraf_sgr", *FAST, "trainer.max_epochs=4"], "full"),
    "sgraf_saf, rate 1e-3, full set, 5 epochs": Row(["model=sgraf_saf", *FAST, "trainer.max_epochs=5"], "full"),
    "bert_vse, frozen, rate 1e-3, full set, 4 epochs": Row(
        [*BERT[:-1], "model.thaw_at=1", "optimizer.lr=1e-3", "trainer.max_epochs=4"], "full"
    ),
    "cca, full set": Row(["+experiment=cca"], "full"),
    "best, full set": Row(["+experiment=best"], "full"),
    "best_pretrained, no correction, linear, full set": Row([*PRETRAINED, *NEITHER], "full"),
    "best_pretrained, full set": Row(PRETRAINED, "full"),
}
"""Recipes by name. ``…, no correction, linear`` was run when that was `best_pretrained`; see ``command_then``."""
ENSEMBLES = {
    "mean of cca and vse_infinity": ("cca", "vse_infinity"),
    "mean of best and vse_infinity": ("best", "vse_infinity"),
    "mean of best_pretrained and vse_infinity": ("best_pretrained", "vse_infinity"),
    "mean of sgraf_sgr and sgraf_saf, full set, 2 epochs": (
        "sgraf_sgr, full set, 2 epochs",
        "sgraf_saf, full set, 2 epochs",
    ),
    "mean of sgraf_sgr and sgraf_saf, rate 1e-3, full set, 2 epochs": (
        "sgraf_sgr, rate 1e-3, full set, 2 epochs",
        "sgraf_saf, rate 1e-3, full set, 2 epochs",
    ),
    "mean of best and vse_infinity, rate 1e-3": ("best", "vse_infinity, rate 1e-3"),
    "mean of best and vse_infinity, rate 1e-3, full set": (
        "best, full set",
        "vse_infinity, rate 1e-3, full set, 2 epochs",
    ),
    "mean of best and sgraf_saf, rate 1e-3": ("best", "sgraf_saf, rate 1e-3"),
    "mean of best and sgraf_saf, rate 1e-3, full set": ("best, full set", "sgraf_saf, rate 1e-3, full set, 2 epochs"),
    "mean of best, sgraf_sgr and sgraf_saf, rate 1e-3, full set": (
        "best, full set",
        "sgraf_sgr, rate 1e-3, full set, 2 epochs",
        "sgraf_saf, rate 1e-3, full set, 2 epochs",
    ),
    "mean of best_pretrained, sgraf_sgr and sgraf_saf, rate 1e-3, full set": (
        "best_pretrained, full set",
        "sgraf_sgr, rate 1e-3, full set, 2 epochs",
        "sgraf_saf, rate 1e-3, full set, 2 epochs",
    ),
    "mean of best_pretrained, vse_infinity and targeted": ("best_pretrained", "vse_infinity", "targeted"),
    "weighted mean of five kinds, full set": (
        "best_pretrained, full set",
        "sgraf_saf, rate 1e-3, full set, 5 epochs",
        "sgraf_sgr, rate 1e-3, full set, 2 epochs",
        "vse_infinity, rate 1e-3, full set, 2 epochs",
        "bert_vse, frozen, rate 1e-3, full set, 4 epochs",
    ),
}
"""Rows whose scores are averaged, seed by seed, after division by their standard deviation."""
WEIGHTS = {"weighted mean of five kinds, full set": (0.307692, 0.230769, 0.076923, 0.076923, 0.307692)}
"""Weights that ``evaluate weights=val fusion=standardised`` chose on validation; the others are equal."""
SEEDS_OF_BEST = range(5)
"""Seeds of `best` whose scores are averaged: `best_ensemble` until 2026-11-30."""


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--small", type=Path, help="folder of f8kcn_small")
    parser.add_argument("--full", type=Path, help="folder of f8kcn_full")
    parser.add_argument("--demo", type=Path, help="folder of the demo set")
    parser.add_argument("--encoder", type=Path, help="folder of the text encoder")
    parser.add_argument("--rows", default=";".join(ROWS))
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    folders = {"small": options.small, "full": options.full, "demo": options.demo, "encoder": options.encoder}
    for name in filter(None, options.rows.split(";")):
        seeds = "0" if ENSEMBLE in ROWS[name].words else options.seeds  # an ensemble has its own seeds
        for seed in map(int, seeds.split(",")):
            measure(name, seed, folders, options.work.absolute())
    results = table(options.work.absolute() / "means")
    TABLE.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(markdown(results))


def command_of(name: str, seed: int) -> list[str]:
    """Words of a row's command, with placeholders for the folders of this machine."""
    row = ROWS[name]
    words = [*row.words, f"data=f8kcn_{row.trained_on}", f"data.root=<{row.trained_on}>"]
    return words if ENSEMBLE in words else [*words, f"seed={seed}"]


def folder_of(name: str, seed: int) -> Path:
    """Folder of what is kept of a run."""
    return RUNS / f"{name.replace(',', '').replace(' ', '-')}-{seed}"


def measure(name: str, seed: int, folders: dict[str, Path | None], work: Path) -> None:
    """Train a row with a seed and score test5, unless that is done."""
    out, words = folder_of(name, seed), command_of(name, seed)
    done = out / "run.json"
    if done.exists() and json.loads(done.read_text("utf-8"))["command"] == words:
        return
    print(f"{name}, seed {seed} ...", flush=True)
    record, model, log = train(name, seed, folders, work)
    root = folders[ROWS[name].trained_on]
    evaluation = work / f"{out.name}-test5"
    run(
        "tangka_match.evaluate", *model, f"data.root={root.absolute()}", "split=test5", f"out={evaluation}", log=log,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "scores.npy", np.load(evaluation / "similarity.npy").astype(np.float16))
    (out / "ranks.csv").write_bytes((evaluation / "ranks.csv").read_bytes())
    kept = ("run_id", "git_commit", "machine", "seconds", "best_step", "total_steps", "val_metrics", "weights")
    found = {"command": words, **{key: record[key] for key in kept if key in record}}
    text = json.dumps(found, ensure_ascii=False, indent=1)
    done.write_text(text + "\n", "utf-8")


def train(name: str, seed: int, folders: dict[str, Path | None], work: Path) -> tuple[dict[str, Any], list[str], Path]:
    """Train a row with a seed, or continue; return its record, the words that evaluate it, and its log."""
    words = command_of(name, seed)
    where = work / folder_of(name, seed).name
    log = where.with_name(f"{where.name}.log")
    command = where / "command.json"
    if command.exists() and json.loads(command.read_text("utf-8")) != words:
        raise SystemExit(f"{where} holds a run of another command (command.json): remove the folder")
    if ENSEMBLE in words or not any((where / "runs").glob("*/result.json")):  # finished runs of an ensemble are kept
        where.mkdir(parents=True, exist_ok=True)
        command.write_text(json.dumps(words), "utf-8")
        needed = [key for key in TRAINED_FIRST if any(f"<{key}>" in word for word in words)]
        ready = {
            key: Path(train(TRAINED_FIRST[key], seed, folders, work)[1][0].removeprefix("checkpoint="))
            for key in needed
        }
        filled = [fill(word, {**folders, **ready}) for word in words]
        begun = [path.parent.name for path in (where / "checkpoints").glob("*/*/last.ckpt")]
        resumes = begun and ENSEMBLE not in words  # which continues by the same command
        task = [f"resume={begun[0]}"] if resumes else [*filled, "logger=none", "trainer.progress_bar=false"]
        run("tangka_match.train", *task, f"paths.runs={where}/runs", f"paths.checkpoints={where}/checkpoints", log=log)
    if ENSEMBLE in words:
        return *ensemble_of(where), log
    record = read_run(max((where / "runs").glob("*/result.json")).parent)
    (checkpoint,) = (where / "checkpoints").glob(f"*/{record['run_id']}/best.ckpt")
    return record, [f"checkpoint={checkpoint}"], log


def ensemble_of(where: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the record of an ensemble, with the metrics of the ensemble and the time of all runs, and its checkpoints.

    The other fields are those of its first run.
    """
    (manifest,) = (where / "runs").glob("sweeps/*/manifest.jsonl")
    summary = json.loads(manifest.read_text("utf-8").splitlines()[-1])
    ids = [run_id for member in summary["members"] for run_id in member["runs"]]
    records = [read_run(where / "runs" / run_id) for run_id in ids]
    seconds = sum(one["seconds"] for one in records)
    found = {"val_metrics": summary["ensemble"], "weights": summary["weights"], "seconds": seconds}
    paths = [next((where / "checkpoints").glob(f"*/{run_id}/best.ckpt")) for run_id in ids]
    weights = ",".join(map(str, summary["weights"]))
    listed = ",".join(map(str, paths))
    return {**records[0], **found}, [f"checkpoint=[{listed}]", "fusion=standardised", f"weights=[{weights}]"]


def fill(word: str, folders: dict[str, Path | None]) -> str:
    """Replace a placeholder by the folder or file of this machine."""
    for name, folder in folders.items():
        if f"<{name}>" in word:
            if folder is None:
                raise SystemExit(f"{word}: give --{name}")
            return word.replace(f"<{name}>", str(folder.absolute()))
    return word


def run(module: str, *words: str, log: Path) -> None:
    """Run a command; its output goes to a log file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        subprocess.run([sys.executable, "-m", module, *words], check=True, stdout=file, stderr=subprocess.STDOUT)


def table(means: Path) -> dict[str, dict[str, Any]]:
    """Compute the metrics of all rows, and of their ensembles, from the scores in ``RUNS``.

    The scores of the ensembles are written to the folder ``means``, for `compare`.
    """
    means.mkdir(parents=True, exist_ok=True)
    scores: dict[str, dict[int, torch.Tensor]] = {}
    said: dict[str, dict[int, dict]] = {}
    for name in ROWS:
        for seed in range(10):
            folder = folder_of(name, seed)
            if (folder / "run.json").exists():
                scores.setdefault(name, {})[seed] = torch.from_numpy(np.load(folder / "scores.npy")).float()
                said.setdefault(name, {})[seed] = json.loads((folder / "run.json").read_text("utf-8"))
    for name, parts in ENSEMBLES.items():
        seeds = set.intersection(*(set(scores.get(part, {})) for part in parts))
        for seed in sorted(seeds):
            weights = WEIGHTS.get(name, [1 / len(parts)] * len(parts))
            mean = torch.stack(
                [w * standardise(scores[part][seed]) for w, part in zip(weights, parts, strict=True)]
            ).sum(0)
            scores.setdefault(name, {})[seed] = mean
            np.save(means / f"{folder_of(name, seed).name}.npy", mean.numpy())
    if set(scores.get("best", {})) >= set(SEEDS_OF_BEST):
        mean = torch.stack([scores["best"][seed] for seed in SEEDS_OF_BEST]).mean(0)
        scores["mean of five seeds of best"] = {0: mean}
        np.save(means / "mean-of-five-seeds-of-best-0.npy", mean.numpy())
    return {name: row(by_seed, said.get(name, {})) for name, by_seed in scores.items()}


def standardise(scores: torch.Tensor) -> torch.Tensor:
    """Divide by the standard deviation, which makes scores of different kinds of models comparable."""
    return scores / scores.std()


def row(by_seed: dict[int, torch.Tensor], said: dict[int, dict]) -> dict[str, Any]:
    """Metrics of each seed, on all of test5 and in galleries of 363."""
    found: dict[str, Any] = {"seeds": list(by_seed)}
    for scores in by_seed.values():
        owners = torch.arange(scores.shape[1]) // CAPTIONS_PER_IMAGE
        whole = summarise(retrieval_ranks(scores, owners))
        galleries = rank_galleries(scores, owners, GALLERIES).metrics(GALLERIES)
        for where, metrics in (("test5", whole), ("galleries", galleries)):
            for metric in ("mean_r1", "rsum"):
                found.setdefault(f"{where} {metric}", []).append(round(metrics[metric], 3))
    for metric in ("mean_r1", "rsum"):
        found[f"val {metric}"] = [round(one["val_metrics"][metric], 3) for one in said.values()]
    found["seconds"] = [one["seconds"] for one in said.values()]
    return found


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """The table of the README."""
    lines = [
        "| mean R@1 / rsum | seeds | validation | test5, galleries of 363 | test5, all images |",
        "|---|--:|---|---|---|",
    ]
    for name, found in results.items():
        cells = [
            " / ".join(spread(found[f"{where} {metric}"]) for metric in ("mean_r1", "rsum"))
            for where in ("val", "galleries", "test5")
        ]
        lines.append(f"| {name} | {len(found['seeds'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    main()
