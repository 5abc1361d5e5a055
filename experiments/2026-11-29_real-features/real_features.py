"""Recipes on the features of a real CNN (f8kcn): train, score test5, write the tables; resumes where it stopped.

    python experiments/2026-11-29_real-features/real_features.py WORK --small f8kcn_small [--full f8kcn_full] \
        [--demo demo] [--encoder me5_small_zh] [--rows "cca;targeted"] [--seeds 0,1,2]

WORK takes the run folders and checkpoints. A final run leaves `runs/<row>-<seed>/` beside this file: `run.json`
(command, commit, machine, seconds), `ranks.csv` and `scores.npy` (test5, float16). It is not trained again while its
command is the same, so that the tables can be written without any data: `--rows ""` does only that.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from rows import ENSEMBLE, ROWS, TRAINED_FIRST, command_of, folder_of
from tables import write_tables

from collect import read_run


def main() -> None:
    """Train what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--small", type=Path, help="folder of f8kcn_small")
    parser.add_argument("--full", type=Path, help="folder of f8kcn_full")
    parser.add_argument("--demo", type=Path, help="folder of the demo set")
    parser.add_argument("--encoder", type=Path, help="folder of the text encoder")
    parser.add_argument("--rows", default=";".join(ROWS))
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    given = {name: getattr(options, name) for name in ("small", "full", "demo", "encoder")}
    folders = {name: str(folder.absolute()) for name, folder in given.items() if folder is not None}
    for name in filter(None, options.rows.split(";")):
        seeds = "0" if ENSEMBLE in ROWS[name].words else options.seeds  # an ensemble has its own seeds
        for seed in map(int, seeds.split(",")):
            measure(name, seed, folders, options.work.absolute())
    write_tables(options.work.absolute() / "means")


def measure(name: str, seed: int, folders: dict[str, str], work: Path) -> None:
    """Train a row with a seed and score test5, unless that is done."""
    out, words = folder_of(name, seed), command_of(name, seed)
    done = out / "run.json"
    if done.exists() and json.loads(done.read_text("utf-8"))["command"] == words:
        return
    print(f"{name}, seed {seed} ...", flush=True)
    record, model, log = train(name, seed, folders, work)
    root = fill(f"data.root=<{ROWS[name].trained_on}>", folders)
    evaluation = work / f"{out.name}-test5"
    run("tangka_match.evaluate", *model, root, "split=test5", f"out={evaluation}", log=log)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "scores.npy", np.load(evaluation / "similarity.npy").astype(np.float16))
    (out / "ranks.csv").write_bytes((evaluation / "ranks.csv").read_bytes())
    kept = ("run_id", "git_commit", "machine", "seconds", "best_step", "total_steps", "val_metrics", "weights")
    found = {"command": words, **{key: record[key] for key in kept if key in record}}
    text = json.dumps(found, ensure_ascii=False, indent=1)
    done.write_text(text + "\n", "utf-8")


def train(name: str, seed: int, folders: dict[str, str], work: Path) -> tuple[dict[str, Any], list[str], Path]:
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
            key: train(TRAINED_FIRST[key], seed, folders, work)[1][0].removeprefix("checkpoint=") for key in needed
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


def fill(word: str, folders: dict[str, str]) -> str:
    """Replace a placeholder by the folder or the checkpoints of this machine."""
    name = word.partition("<")[2].partition(">")[0]
    if name and name not in folders:
        raise SystemExit(f"{word}: give --{name}")
    return word.replace(f"<{name}>", folders[name]) if name else word


def run(module: str, *words: str, log: Path) -> None:
    """Run a command; its output goes to a log file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        subprocess.run([sys.executable, "-m", module, *words], check=True, stdout=file, stderr=subprocess.STDOUT)


if __name__ == "__main__":
    main()
