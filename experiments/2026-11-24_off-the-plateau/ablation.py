"""One change at a time to a plain dual encoder, three seeds each, and what `compare` says; resumes where it stopped.

    python experiments/2026-11-24_off-the-plateau/ablation.py f8kcn_small OUT [--full f8kcn_full] [--only NAME;NAME]

Rows whose runs are finished are taken over, if their command is the same; the table is printed, and written to
OUT/ablation.json, after every row. All of it is on the validation split, which also chose each run's best step.
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from collect import read_run

CLOSED_FORM, FULL = "closed form (best)", "on the full set"
CHECKPOINTS = {"<closed form>": CLOSED_FORM, "<full set>": FULL}
COMMON = ["logger=none", "trainer.progress_bar=false", "seeds=[0,1,2]"]
SHORT = ["trainer.max_epochs=10", "trainer.log_every_n_steps=22", "scheduler.warmup_steps=22"]
FIXED = ["loss=info_nce", "loss.temperature=0.1", "loss.learn_temperature=false"]
DUAL = ["model=dual_encoder", "model.embed_dim=256", "model.image_pooling=mean", "model.text_pooling=mean"]
BASE = [*SHORT, *DUAL, *FIXED]
PARTS = ["loss=blend", "loss.parts.info_nce.temperature=0.1", "loss.parts.info_nce.learn_temperature=false"]
LOCAL = [*SHORT, *FIXED, "model.embed_dim=256"]
MIXED = "data.mix=[{root: <full root>, share: 0.5}]"
SGR = [*LOCAL, "model.sim_dim=64"]

ROWS: dict[str, list[str]] = {
    "base": BASE,
    "max pooling": [*BASE, "model.image_pooling=max", "model.text_pooling=max"],
    "k-max pooling": [*BASE, "model.image_pooling=k_max", "model.text_pooling=k_max"],
    "GPO": [*BASE, "model.image_pooling=gpo", "model.text_pooling=gpo"],
    "learnt temperature": [*BASE, "loss.learn_temperature=true"],
    "temperature 0.15": [*BASE, "loss.temperature=0.15"],
    "hardest negatives": [*SHORT, *DUAL, "loss=triplet"],
    "all negatives, hinge": [*SHORT, *DUAL, "loss=triplet", "loss.hard_negatives=0"],
    "curriculum": [*SHORT, *DUAL, "loss=curriculum", *FIXED[1:]],
    "soft labels": [*SHORT, *DUAL, "loss=soft_label", *FIXED[1:]],
    "sigmoid": [*SHORT, *DUAL, "loss=sigmoid", "loss.bias=-5"],
    "HAL": [*SHORT, *DUAL, "loss=hal"],
    "alignment + uniformity": [*SHORT, *DUAL, *PARTS],
    "momentum queue": [
        *SHORT,
        *DUAL,
        *PARTS,
        "loss.weights.uniform=0",
        "+loss@loss.parts.queue=momentum_queue",
        "+loss.weights.queue=1.0",
        "loss.parts.queue.temperature=0.1",
        "loss.parts.queue.learn_temperature=false",
    ],
    "region and word drop": [*BASE, "augmentation=drop"],
    "strong augmentation": [*BASE, "augmentation=strong"],
    "averaged weights": [*BASE, "training.ema_decay=0.98"],
    "hard batches": [*BASE, "data.hard_batches=0.5"],
    "noisy pairs": [*BASE, "training.noisy_pairs_from=0.3"],
    "LSTM": [*BASE, "model.text_encoder=lstm"],
    "Transformer, words": [*BASE, "model.text_encoder=transformer"],
    "Transformer, regions": [*BASE, "model.region_encoder=transformer"],
    "characters": [*BASE, "model.character_dim=100"],
    "SCAN, words to regions": [*LOCAL, "model=scan_t2i"],
    "cross-modal Transformer": [*LOCAL, "model=cross_modal_transformer"],
    "SGR": [*SGR, "model=sgraf_sgr"],
    "SGR + SAF": [*SGR, "model=sgraf_both"],
    "SGR + global branch": [*SGR, "model=sgraf_sgr", "model.global_share=0.5"],
    CLOSED_FORM: ["+experiment=best"],
    "taught by the closed form, scores": [*BASE, "distillation=score", "distillation.teachers=<closed form>"],
    "taught by the closed form, ranks": [*BASE, "distillation=rank", "distillation.teachers=<closed form>"],
    FULL: [*BASE, "trainer.max_epochs=2"],
    "started from the full set": [*BASE, "init_from=<full set>", "optimizer.lr=2e-4"],
    "full set mixed in": [*BASE, MIXED, "trainer.max_steps=220"],
    "closed form, full set mixed in": ["+experiment=best", MIXED],
}
"""Words of the command; ``<closed form>`` stands for the three checkpoints of that row, ``<full set>`` for the first of
its row, and ``<full root>`` for the folder of that set.

The full set's training pairs hold the small set's and neither its validation nor its test pairs.
"""


def main() -> None:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--full", type=Path, help="folder of f8kcn_full, for the rows that learn from it")
    parser.add_argument("--only", default="", help="rows, separated by semicolons; all if not given")
    options = parser.parse_args()
    chosen = options.only.split(";") if options.only else list(ROWS)
    if unknown := set(chosen) - set(ROWS):
        parser.error(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if options.full is None and (wanting := [name for name in chosen if name == FULL or "<full " in str(ROWS[name])]):
        parser.error(f"these rows need --full: {', '.join(wanting)}")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "ablation.json"
    found = json.loads(path.read_text("utf-8")) if path.exists() else {}
    results: dict[str, dict] = {k: row for k, row in found.items() if k in ROWS and row["command"] == command_of(k)}
    for name in dict.fromkeys(["base", *chosen]):
        print(f"{name} ...", flush=True)
        results[name] = measure(name, options.root, options.full, options.out.absolute())
        if name not in {"base", FULL}:  # the full set has a validation split of its own
            results[name]["against base"] = compare(results["base"], results[name], options.out.absolute())
        path.write_text(json.dumps(results, indent=1, ensure_ascii=False), "utf-8")
    print(markdown(results))


def measure(name: str, root: Path, full: Path | None, out: Path) -> dict:
    """Train the three seeds of a row, or take over what is finished."""
    folder = out / folder_name(name)
    where = [
        f"data.root={(full if name == FULL else root).absolute()}",
        f"paths.runs={folder.absolute()}",
        f"paths.checkpoints={folder}/checkpoints",
    ]
    words = words_of(name)
    with (out / "ablation.log").open("a", encoding="utf-8") as log:
        command = [sys.executable, "-m", "tangka_match.train", *(filled(word, full, out) for word in words), *where]
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    runs = [read_run(path.parent) for path in sorted(folder.glob("*/result.json"))]
    row = {"command": command_of(name), "commit": runs[0]["git_commit"]}
    for metric in ("mean_r1", "rsum"):
        values = [run["val_metrics"][metric] for run in runs]
        row[metric] = {"values": values, "mean": statistics.fmean(values), "std": statistics.stdev(values)}
    row["best_step"] = [run["best_step"] for run in runs]
    row["seconds"] = [run["seconds"] for run in runs]
    return row | {"runs": [run["run_id"] for run in runs], "folder": folder.name}


def words_of(name: str) -> list[str]:
    """A row's command, without the sets and folders of this machine."""
    return ["data=precomp", *COMMON, *ROWS[name]]


def command_of(name: str) -> str:
    """The same in one line."""
    return f"python -m tangka_match.train {' '.join(words_of(name))}"


def folder_name(name: str) -> str:
    """A row's folder: another one as soon as its command is another, or that of a row whose checkpoints it takes."""
    line = command_of(name)
    for placeholder, row in CHECKPOINTS.items():
        line = line.replace(placeholder, folder_name(row)) if placeholder in line else line
    digest = hashlib.sha256(line.encode()).hexdigest()[:6]
    return "".join(letter if letter.isalnum() else "-" for letter in name) + f"-{digest}"


def filled(word: str, full: Path | None, out: Path) -> str:
    """A word of a command with the checkpoints of the row that it names, or the folder of the full set."""
    if "<full root>" in word:
        return word.replace("<full root>", str(full.absolute()))
    for placeholder, row in CHECKPOINTS.items():
        if placeholder in word:
            found = sorted((out / folder_name(row)).glob("checkpoints/*/*/best.ckpt"))
            if not found:
                raise SystemExit(f"{word}: measure the row {row!r} first")
            chosen = f"[{','.join(map(str, found))}]" if row == CLOSED_FORM else str(found[0])
            return word.replace(placeholder, chosen)
    return word


def compare(base: dict, row: dict, out: Path) -> dict:
    """What `tangka_match.compare` says of a row against the base, both of three seeds."""
    sides = [
        f"[{','.join(str((out / side['folder'] / run).absolute()) for run in side['runs'])}]" for side in (base, row)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "verdict.json"
        command = [sys.executable, "-m", "tangka_match.compare", f"a={sides[0]}", f"b={sides[1]}", f"out={path}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        metrics = json.loads(path.read_text("utf-8"))["metrics"]
    return {
        name: {key: metrics[name][key] for key in ("difference", "low", "high", "p")} for name in ("mean_r1", "rsum")
    }


def markdown(results: dict[str, dict]) -> str:
    """The table of a README."""
    lines = [
        "| row | mean R@1 | rsum | rsum against base, 95 % interval, p | best step | seconds a run |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in results.items():
        against = row.get("against base")
        change = (
            ""
            if against is None
            else "{difference:+.1f} [{low:+.1f}, {high:+.1f}], p = {p:.2g}".format(**against["rsum"])
        )
        figures = [
            f"{row[metric]['mean']:.{digits}f} ± {row[metric]['std']:.{digits}f}"
            for metric, digits in (("mean_r1", 2), ("rsum", 1))
        ]
        spans = [f"{min(row[key]):.0f}–{max(row[key]):.0f}" for key in ("best_step", "seconds")]
        lines.append(f"| {name} | {' | '.join(figures)} | {change} | {' | '.join(spans)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
