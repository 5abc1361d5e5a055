"""The tables of the README: metrics of all rows, and tests of their differences, from the scores in ``RUNS``."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rows import ENSEMBLE, GROUPS, MEANS, ROWS, Ensemble, Mean, folder_of

from tangka_match.analysis.significance import compare_ranks
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.retrieval.protocols import EvaluationProtocol, rank_galleries

RESULTS = Path(__file__).parent / "results.json"
DIFFERENCES = Path(__file__).parent / "differences.json"
TABLES = Path(__file__).parent / "tables.md"
GALLERIES = EvaluationProtocol(gallery_size=363, draws=50, seed=0)
DIGITS = {"mean_r1": 2, "rsum": 1}
"""Printed metrics, and the decimals of their differences."""
OWNERS = torch.arange(637 * 5) // 5
"""Image of each caption of test5."""

TABLES_HEAD = """# All rows

Written by `real_features.py`; the [README](README.md) says what the names mean and what follows. Mean R@1 in percent /
rsum; ± is the standard deviation over seeds. Rows with one seed are single runs (seed 0), or one ensemble.

*Validation*: 363 images; one caption of each, with † all five, so that figures with and without † cannot be compared.
*Galleries*: 50 random galleries of 363 images of test5 with one caption each. *All images*: 637 images and 3,185
captions. *Steps*: optimizer steps of 128 pairs; the closed form reads the pairs once. *Minutes*: wall clock with one
thread, mostly beside other jobs, so at least the CPU minutes.
"""
DIFFERENCES_HEAD = """
# Differences

On all of test5, by the tests of `tangka_match.compare`: difference [95 % interval], p, not corrected for the number of
tests. *Seeds* are those of the first and of the second row. With several on both sides, intervals and p-values hold for
training again with other seeds. With one on a side, one model is tested against one of the same seed (0), which leaves
out the variance between seeds; if the other row has more seeds, the difference to their mean is given as well.
"""

COMPARISONS = [
    ("cca", "cca, words only"),
    ("best", "cca"),
    ("best", "targeted"),
    ("best_pretrained", "best_pretrained, no correction, linear"),
    ("best_pretrained", "best_pretrained, linear"),
    ("best_pretrained", "best"),
    ("best_pretrained", "targeted"),
    ("targeted, chosen by rsum", "targeted"),
    ("targeted, characters, chosen by rsum", "targeted, chosen by rsum"),
    ("enhanced", "targeted"),
    ("vse_infinity", "targeted"),
    ("vse_infinity, rate 1e-3", "vse_infinity"),
    ("vse_infinity, characters, chosen by rsum", "vse_infinity, chosen by rsum"),
    ("vse_infinity, word prediction", "vse_infinity"),
    ("vse_infinity, soft labels", "vse_infinity"),
    ("vse_infinity, filtered negatives, chosen by rsum", "vse_infinity, chosen by rsum"),
    ("vse_infinity, distilled", "vse_infinity"),
    ("sgraf_saf, rate 1e-3", "targeted"),
    ("bert_vse, frozen", "targeted"),
    ("bert_vse, frozen", "vse_infinity"),
    ("bert_vse, thawed", "bert_vse, frozen"),
    ("bert_vse, thawed", "vse_infinity"),
    ("bert_vse, thawed", "best"),
    ("bert_vse, thawed", "best_pretrained"),
    ("bert_vse, thawed, layer-wise rates", "bert_vse, thawed"),
    ("best_ensemble", "best"),
    ("best_ensemble", "mean of five seeds of best"),
    ("mean of five seeds of best", "best"),
    ("best_ensemble, more networks to choose from", "best_ensemble"),
    ("weighted mean of best_pretrained, bert_vse and targeted", "best_pretrained"),
    ("mean of best and vse_infinity", "best"),
    ("mean of best_pretrained and vse_infinity", "best_pretrained"),
    ("best, larger set", "best"),
    ("best_pretrained, larger set", "best_pretrained"),
    ("best_pretrained, larger set", "best, larger set"),
    ("vse_infinity, started on the larger set", "vse_infinity"),
    ("vse_infinity, started on the larger set", "vse_infinity, rate 1e-3, larger set alone"),
    ("vse_infinity, started on the larger set", "best, larger set"),
    ("weighted mean of best and vse_infinity, larger set", "best, larger set"),
    ("mean of best_pretrained and vse_infinity, larger set", "best_pretrained, larger set"),
    ("best, demo set", "best"),
    ("best, full set", "cca, full set"),
    ("best_pretrained, full set", "best, full set"),
    ("best_pretrained, full set", "best_pretrained, no correction, linear, full set"),
    ("best_pretrained, full set", "best_pretrained, larger set"),
    ("best, full set", "vse_infinity, full set, 2 epochs"),
    ("vse_infinity, full set, 2 epochs", "cca, full set"),
    ("vse_infinity, rate 1e-3, full set, 2 epochs", "vse_infinity, full set, 2 epochs"),
    ("vse_infinity, rate 1e-3, full set, 5 epochs", "vse_infinity, rate 1e-3, full set, 2 epochs"),
    ("sgraf_saf, full set, 2 epochs", "vse_infinity, full set, 2 epochs"),
    ("mean of sgraf_sgr and sgraf_saf, full set, 2 epochs", "vse_infinity, full set, 2 epochs"),
    ("sgraf_saf, rate 1e-3, full set, 2 epochs", "sgraf_saf, full set, 2 epochs"),
    ("sgraf_saf, rate 1e-3, full set, 2 epochs", "vse_infinity, full set, 2 epochs"),
    ("sgraf_saf, rate 1e-3, full set, 2 epochs", "vse_infinity, rate 1e-3, full set, 2 epochs"),
    ("sgraf_sgr, rate 1e-3, full set, 2 epochs", "vse_infinity, full set, 2 epochs"),
    ("sgraf_sgr, rate 1e-3, full set, 2 epochs", "vse_infinity, rate 1e-3, full set, 2 epochs"),
    (
        "mean of sgraf_sgr and sgraf_saf, rate 1e-3, full set, 2 epochs",
        "vse_infinity, rate 1e-3, full set, 2 epochs",
    ),
    ("mean of sgraf_sgr and sgraf_saf, rate 1e-3, full set, 2 epochs", "vse_infinity, full set, 2 epochs"),
    ("sgraf_saf, rate 1e-3, full set, 5 epochs", "sgraf_saf, rate 1e-3, full set, 2 epochs"),
    ("sgraf_saf, rate 1e-3, full set, 5 epochs", "vse_infinity, rate 1e-3, full set, 5 epochs"),
    ("sgraf_saf, rate 1e-3, full set, 5 epochs", "cca, full set"),
    ("sgraf_saf, rate 1e-3, full set, 5 epochs", "best, full set"),
    ("sgraf_saf, rate 1e-3, full set, 5 epochs", "best_pretrained, full set"),
    ("sgraf_sgr, rate 1e-3, full set, 4 epochs", "sgraf_sgr, rate 1e-3, full set, 2 epochs"),
    ("sgraf_sgr, rate 1e-3, full set, 4 epochs", "vse_infinity, rate 1e-3, full set, 5 epochs"),
    ("sgraf_sgr, rate 1e-3, full set, 4 epochs", "sgraf_saf, rate 1e-3, full set, 5 epochs"),
    ("sgraf_sgr, rate 1e-3, full set, 4 epochs", "best, full set"),
    (
        "mean of sgraf_sgr and sgraf_saf, rate 1e-3, full set, 4 and 5 epochs",
        "vse_infinity, rate 1e-3, full set, 5 epochs",
    ),
    ("mean of best and vse_infinity, rate 1e-3, full set, 5 epochs", "best, full set"),
    ("mean of best and vse_infinity, rate 1e-3, full set", "best, full set"),
    ("mean of best and sgraf_saf, rate 1e-3, full set", "best, full set"),
    ("mean of best, sgraf_sgr and sgraf_saf, rate 1e-3, full set", "best, full set"),
    ("mean of best_pretrained, sgraf_sgr and sgraf_saf, rate 1e-3, full set", "best_pretrained, full set"),
    ("weighted mean of five kinds, full set", "best_pretrained, full set"),
    ("weighted mean of five kinds, full set", "best, full set"),
    ("weighted mean of five kinds, full set", "cca, full set"),
]
"""Pairs of rows: the first is tested against the second."""

Scores = dict[str, dict[int, torch.Tensor]]
"""Scores of test5 by row and seed, (637, 3185)."""


def write_tables(means: Path) -> None:
    """Write ``results.json`` and ``differences.json``, and both as tables to ``tables.md``.

    Args:
        means: Folder to write the scores of the means to, for `compare`.
    """
    records = read_records()
    scores = read_scores(records)
    means.mkdir(parents=True, exist_ok=True)
    for name, mean in MEANS.items():
        scores[name] = average(mean, scores)
        for seed, matrix in scores[name].items():
            np.save(means / f"{folder_of(name, seed).name}.npy", matrix.numpy())
    scores = {name: by_seed for name, by_seed in scores.items() if by_seed}
    results = {name: metrics_of(by_seed, records.get(name, {})) for name, by_seed in scores.items()}
    _write(RESULTS, results)
    differences = compare_rows(scores)
    _write(DIFFERENCES, differences)
    TABLES.write_text(
        TABLES_HEAD + metrics_tables(results) + DIFFERENCES_HEAD + differences_tables(differences, results), "utf-8"
    )
    print(f"written to {TABLES}")


def read_records() -> dict[str, dict[int, dict[str, Any]]]:
    """Read the ``run.json`` of all finished runs, by row and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in ROWS}
    for name in ROWS:
        for seed in range(10):
            path = folder_of(name, seed) / "run.json"
            if path.exists():
                found[name][seed] = json.loads(path.read_text("utf-8"))
    return found


def read_scores(records: dict[str, dict[int, dict[str, Any]]]) -> Scores:
    """Read the scores of finished runs."""
    return {
        name: {seed: torch.from_numpy(np.load(folder_of(name, seed) / "scores.npy")).float() for seed in by_seed}
        for name, by_seed in records.items()
    }


def average(mean: Mean | Ensemble, scores: Scores) -> dict[int, torch.Tensor]:
    """Average the scores of rows for each seed, or of single runs (as seed 0); nothing if a score is missing."""
    if isinstance(mean, Ensemble):
        complete = all(seed in scores[row] for row, seed in mean.runs)
        groups = {0: [scores[row][seed] for row, seed in mean.runs]} if complete else {}
    else:
        common = set.intersection(*(set(scores[part]) for part in mean.parts))
        groups = {seed: [scores[part][seed] for part in mean.parts] for seed in sorted(common)}
    return {seed: _weighted_mean(matrices, mean.weights) for seed, matrices in groups.items()}


def _weighted_mean(matrices: list[torch.Tensor], weights: tuple[float, ...] | None) -> torch.Tensor:
    """Average scores of different kinds, each divided by its standard deviation."""
    weights = weights or (1 / len(matrices),) * len(matrices)
    return torch.stack([w * matrix / matrix.std() for w, matrix in zip(weights, matrices, strict=True)]).sum(0)


def metrics_of(by_seed: dict[int, torch.Tensor], records: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Compute the metrics of each seed, on validation, on all of test5 and in galleries of 363."""
    found: dict[str, Any] = {"seeds": list(by_seed)}
    for scores in by_seed.values():
        whole = summarise(retrieval_ranks(scores, OWNERS))
        galleries = rank_galleries(scores, OWNERS, GALLERIES).metrics(GALLERIES)
        for where, metrics in (("test5", whole), ("galleries", galleries)):
            for metric in DIGITS:
                found.setdefault(f"{where} {metric}", []).append(round(metrics[metric], 3))
    for metric in DIGITS:
        found[f"val {metric}"] = [round(one["val_metrics"][metric], 3) for one in records.values()]
    found["seconds"] = [one["seconds"] for one in records.values()]
    found["steps"] = [one["total_steps"] for one in records.values()]
    return found


def compare_rows(scores: Scores) -> dict[str, Any]:
    """Test the pairs of ``COMPARISONS`` as `tangka_match.compare` does.

    All seeds are used where both rows have several, otherwise the first that both have.
    """
    found: dict[str, Any] = {}
    for name, baseline in COMPARISONS:
        sides = [scores.get(row, {}) for row in (baseline, name)]
        common = sorted(set(sides[0]) & set(sides[1]))
        if not common:
            continue
        seeds = [list(side) if min(map(len, sides)) > 1 else common[:1] for side in sides]
        a, b = ([retrieval_ranks(side[k], OWNERS) for k in chosen] for side, chosen in zip(sides, seeds, strict=True))
        tests = compare_ranks(a, b, OWNERS)
        found[f"{name} | {baseline}"] = {"seeds": seeds, **{metric: tests[metric]._asdict() for metric in DIGITS}}
    return found


def metrics_tables(results: dict[str, dict[str, Any]]) -> str:
    """Format a table of metrics for each group of rows."""
    lines = []
    for group, rows in GROUPS.items():
        lines += [
            f"\n**{group}**\n",
            "| mean R@1 / rsum | seeds | validation | test5, galleries of 363 | test5, all images | steps | minutes |",
            "|---|--:|---|---|---|--:|--:|",
        ]
        for name in rows:
            if name in results:
                found = results[name]
                cells = [
                    " / ".join(_spread(found[f"{where} {metric}"]) for metric in DIGITS)
                    for where in ("val", "galleries", "test5")
                ]
                if name in ROWS and ROWS[name].trained_on == "full":
                    cells[0] += " †"
                cells += _budget(name, found)
                lines.append(f"| {name} | {len(found['seeds'])} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _budget(name: str, found: dict[str, Any]) -> list[str]:
    """Format the means of optimizer steps and minutes; an ensemble has the minutes of all its runs."""
    if name not in ROWS:
        return ["–", "–"]
    steps = "–" if ENSEMBLE in ROWS[name].words else f"{statistics.fmean(found['steps']):.0f}"
    return [steps, f"{statistics.fmean(found['seconds']) / 60:.0f}"]


def differences_tables(differences: dict[str, dict[str, Any]], results: dict[str, dict[str, Any]]) -> str:
    """Format a table of differences for each group of rows."""
    lines = []
    for group, rows in GROUPS.items():
        lines += [f"\n**{group}**\n", "| | seeds | mean R@1 [95 %], p | rsum [95 %], p |", "|---|--:|---|---|"]
        for key, found in differences.items():
            name, _, baseline = key.partition(" | ")
            if name in rows:
                both = [results[row] for row in (name, baseline)]
                seeds = ", ".join(str(len(one["seeds"])) for one in both)
                cells = " | ".join(_difference(metric, found, both) for metric in DIGITS)
                lines.append(f"| `{name}` against `{baseline}` | {seeds} | {cells} |")
        if lines[-1].startswith("|---"):  # no row was tested
            del lines[-3:]
    return "\n".join(lines) + "\n"


def _difference(metric: str, found: dict[str, Any], both: list[dict[str, Any]]) -> str:
    """Format a difference, its interval and p-value; with seeds that were not tested, also the difference of means."""
    test, digits = found[metric], DIGITS[metric]
    ends = ", ".join(f"{test[end]:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0") for end in ("low", "high"))
    p = test["p"]
    shown = "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.06 else f"{p:.1f}"
    text = f"{test['difference']:+.{digits}f} [{ends}], {shown}"
    if len(found["seeds"][0]) == 1 and max(len(one["seeds"]) for one in both) > 1:
        b, a = (statistics.fmean(one[f"test5 {metric}"]) for one in both)
        text += f"; to the mean {b - a:+.{digits}f}"
    return text.replace("-", "−")


def _spread(values: list[float]) -> str:
    """Format mean ± standard deviation over seeds."""
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
