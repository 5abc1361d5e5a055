"""The rows of the table: recipes that are trained, and means of their scores."""

from pathlib import Path
from typing import NamedTuple

RUNS = Path(__file__).parent / "runs"
"""Holds a folder per row and seed; see `real_features`."""


class Row(NamedTuple):
    """A recipe: words of the command, and the data set that it trains on."""

    words: list[str]
    trained_on: str = "small"


class Mean(NamedTuple):
    """Mean of the scores of rows after division by their standard deviation, for each seed that all of them have.

    ``weights`` are those that ``evaluate weights=val fusion=standardised`` chose with seed 0; equal by default.
    """

    parts: tuple[str, ...]
    weights: tuple[float, ...] | None = None


class Ensemble(NamedTuple):
    """Such a mean of single runs, each given by its row and its seed."""

    runs: tuple[tuple[str, int], ...]
    weights: tuple[float, ...] | None = None


ENCODER = ["model.text_model=<encoder>", "data.tokenizer.prefix='query: '"]
INFO_NCE = ["loss=info_nce", "loss.temperature=0.1", "loss.learn_temperature=false"]
BASE = ["model=vse_infinity", "optimizer=adamw", "scheduler=cosine"]
VSE_INFINITY = ["model=vse_infinity", *INFO_NCE, "optimizer=adamw", "scheduler=cosine"]
WORDS = ["loss=word_prediction", *(word.replace("loss.", "loss.parts.info_nce.") for word in INFO_NCE[1:])]
SGRAF = [
    "loss=curriculum", "optimizer=adamw", "optimizer.lr=2e-4", "scheduler=cosine",
    "training.checkpoint_every_n_steps=40",
]  # fmt: skip
SGRAF_HIGH_RATE = [word.replace("2e-4", "1e-3") for word in SGRAF]
CHARACTERS = ["data.character_fallback=true", "data.min_count=2"]
BY_RSUM = "training.monitor=val/rsum"
FEW = "data.train_share=0.1718"
LARGER = "data.mix=[{root: <full>, share: 0.5}]"
WITHOUT_SMALL = "data.exclude=<small>/train_ids.txt"
DEMO = "data.mix=[{root: <demo>, share: 0.5}]"
TEACHER = "distillation.teachers=[<teacher>]"
START = "init_from=<start>"
TRAINED_FIRST = {"teacher": "best", "start": "vse_infinity, rate 1e-3, larger set alone"}
"""Placeholders of checkpoints, and the rows that are trained for them."""
SENTENCES = ["distillation=sentences", "distillation.text_model=<encoder>", "distillation.text_prefix='query: '"]
FILTER = ["distillation.weight=0", "distillation.same_above=0.8"]
BERT = ["model=bert_vse", *ENCODER, "data/tokenizer=pieces", *VSE_INFINITY[1:]]
LAYERS = {f"text_tower.transformer.encoder.layer.{k}": 0.1 * 0.8 ** (11 - k) for k in range(12)}
LAYERS["text_tower.transformer.embeddings"] = 0.1 * 0.8**12
RATES = ",".join(f"{name}: {rate:.4f}" for name, rate in LAYERS.items())
PRETRAINED = ["+experiment=best_pretrained", *ENCODER]
ENSEMBLE = "+experiment=best_ensemble"
NEITHER = ["model.hub_weight=0", "model.sentence_kernel=linear"]
"""``…, no correction, linear`` was run when that was `best_pretrained`; see ``command_then`` in its ``run.json``."""


def epochs(count: int) -> str:
    """Return the word that sets the number of epochs."""
    return f"trainer.max_epochs={count}"


CLOSED_FORM = {
    "cca, words only": Row(["+experiment=cca", "data.character_fallback=false"]),
    "cca": Row(["+experiment=cca"]),
    "best": Row(["+experiment=best"]),
    "best_pretrained, no correction, linear": Row([*PRETRAINED, *NEITHER]),
    "best_pretrained, no correction": Row([*PRETRAINED, "model.hub_weight=0"]),
    "best_pretrained, linear": Row([*PRETRAINED, "model.sentence_kernel=linear"]),
    "best_pretrained": Row(PRETRAINED),
}
NETWORKS = {
    "targeted": Row(["+experiment=targeted"]),
    "targeted, chosen by rsum": Row(["+experiment=targeted", BY_RSUM]),
    "targeted, characters, chosen by rsum": Row(["+experiment=targeted", *CHARACTERS, BY_RSUM]),
    "enhanced": Row(["+experiment=enhanced"]),
    "vse_infinity": Row([*VSE_INFINITY, epochs(12)]),
    "vse_infinity, rate 1e-3": Row([*VSE_INFINITY, "optimizer.lr=1e-3", epochs(12)]),
    "vse_infinity, chosen by rsum": Row([*VSE_INFINITY, epochs(12), BY_RSUM]),
    "vse_infinity, characters, chosen by rsum": Row([*VSE_INFINITY, *CHARACTERS, epochs(12), BY_RSUM]),
    "vse_infinity, word prediction": Row([*BASE, *WORDS, epochs(12)]),
    "vse_infinity, soft labels": Row([*VSE_INFINITY, *SENTENCES, epochs(12)]),
    "vse_infinity, filtered negatives, chosen by rsum": Row([*VSE_INFINITY, *SENTENCES, *FILTER, epochs(12), BY_RSUM]),
    "vse_infinity, distilled": Row([*VSE_INFINITY, "distillation=score", TEACHER, epochs(12)]),
    "sgraf_saf, rate 1e-3": Row(["model=sgraf_saf", *SGRAF_HIGH_RATE, epochs(8)]),
    "bert_vse, frozen": Row([*BERT, epochs(12), "model.thaw_at=1"]),
    "bert_vse, thawed": Row([*BERT, epochs(12), "model.thaw_at=0.25"]),
    "bert_vse, thawed, layer-wise rates": Row(
        [*BERT, epochs(12), "model.thaw_at=0.25", f"training.lr_multipliers={{{RATES}}}"]
    ),
}
ENSEMBLES = {
    "best_ensemble": Row([ENSEMBLE]),
    "mean of five seeds of best": Ensemble(tuple(("best", seed) for seed in range(5))),
    "best_ensemble, more networks to choose from": Ensemble(
        (
            *(("best", seed) for seed in range(3)),
            *(("targeted", seed) for seed in (1, 2)),
            ("targeted, characters, chosen by rsum", 0),
        ),
        (0.388889, 0.111111, 0.166667, 0.055556, 0.166667, 0.111111),
    ),
    "weighted mean of best_pretrained, bert_vse and targeted": Ensemble(
        (
            ("best_pretrained", 0),
            *(("bert_vse, thawed", seed) for seed in (0, 1)),
            *(("targeted", seed) for seed in (1, 2)),
        ),
        (0.5, 0.2, 0.15, 0.1, 0.05),
    ),
    "mean of cca and vse_infinity": Mean(("cca", "vse_infinity")),
    "mean of best and vse_infinity": Mean(("best", "vse_infinity")),
    "mean of best and vse_infinity, rate 1e-3": Mean(("best", "vse_infinity, rate 1e-3")),
    "mean of best and sgraf_saf, rate 1e-3": Mean(("best", "sgraf_saf, rate 1e-3")),
    "mean of best_pretrained and vse_infinity": Mean(("best_pretrained", "vse_infinity")),
    "mean of best_pretrained, vse_infinity and targeted": Mean(("best_pretrained", "vse_infinity", "targeted")),
}
FEW_PAIRS = {
    "cca, 500 pairs": Row(["+experiment=cca", FEW]),
    "best, 500 pairs": Row(["+experiment=best", FEW]),
    "best_pretrained, 500 pairs": Row([*PRETRAINED, FEW]),
}
OTHER_DOMAIN = {"best, demo set": Row(["+experiment=best", DEMO])}
LARGER_SET = {
    "cca, larger set": Row(["+experiment=cca", LARGER]),
    "best, larger set": Row(["+experiment=best", LARGER]),
    "best_pretrained, no correction, linear, larger set": Row([*PRETRAINED, *NEITHER, LARGER]),
    "best_pretrained, larger set": Row([*PRETRAINED, LARGER]),
    "vse_infinity, rate 1e-3, larger set alone": Row(
        [*VSE_INFINITY, "optimizer.lr=1e-3", epochs(4), WITHOUT_SMALL], "full"
    ),
    "vse_infinity, started on the larger set": Row([*VSE_INFINITY, START, epochs(12)]),
    "mean of best and vse_infinity, larger set": Mean(("best, larger set", "vse_infinity, started on the larger set")),
    "weighted mean of best and vse_infinity, larger set": Mean(
        ("best, larger set", "vse_infinity, started on the larger set"), (0.6, 0.4)
    ),
    "mean of best_pretrained and vse_infinity, larger set": Mean(
        ("best_pretrained, larger set", "vse_infinity, started on the larger set")
    ),
}
FULL_SET = {
    "cca, full set": Row(["+experiment=cca"], "full"),
    "best, full set": Row(["+experiment=best"], "full"),
    "best_pretrained, no correction, linear, full set": Row([*PRETRAINED, *NEITHER], "full"),
    "best_pretrained, full set": Row(PRETRAINED, "full"),
    "vse_infinity, full set, 2 epochs": Row([*VSE_INFINITY, epochs(2)], "full"),
    "vse_infinity, rate 1e-3, full set, 2 epochs": Row([*VSE_INFINITY, "optimizer.lr=1e-3", epochs(2)], "full"),
    "vse_infinity, rate 1e-3, full set, 5 epochs": Row([*VSE_INFINITY, "optimizer.lr=1e-3", epochs(5)], "full"),
    "sgraf_sgr, full set, 2 epochs": Row(["model=sgraf_sgr", *SGRAF, epochs(2)], "full"),
    "sgraf_saf, full set, 2 epochs": Row(["model=sgraf_saf", *SGRAF, epochs(2)], "full"),
    "sgraf_sgr, rate 1e-3, full set, 2 epochs": Row(["model=sgraf_sgr", *SGRAF_HIGH_RATE, epochs(2)], "full"),
    "sgraf_saf, rate 1e-3, full set, 2 epochs": Row(["model=sgraf_saf", *SGRAF_HIGH_RATE, epochs(2)], "full"),
    "sgraf_sgr, rate 1e-3, full set, 4 epochs": Row(["model=sgraf_sgr", *SGRAF_HIGH_RATE, epochs(4)], "full"),
    "sgraf_saf, rate 1e-3, full set, 5 epochs": Row(["model=sgraf_saf", *SGRAF_HIGH_RATE, epochs(5)], "full"),
    "bert_vse, frozen, rate 1e-3, full set, 4 epochs": Row(
        [*BERT, "model.thaw_at=1", "optimizer.lr=1e-3", epochs(4)], "full"
    ),
    "mean of sgraf_sgr and sgraf_saf, full set, 2 epochs": Mean(
        ("sgraf_sgr, full set, 2 epochs", "sgraf_saf, full set, 2 epochs")
    ),
    "mean of sgraf_sgr and sgraf_saf, rate 1e-3, full set, 2 epochs": Mean(
        ("sgraf_sgr, rate 1e-3, full set, 2 epochs", "sgraf_saf, rate 1e-3, full set, 2 epochs")
    ),
    "mean of sgraf_sgr and sgraf_saf, rate 1e-3, full set, 4 and 5 epochs": Mean(
        ("sgraf_sgr, rate 1e-3, full set, 4 epochs", "sgraf_saf, rate 1e-3, full set, 5 epochs")
    ),
    "mean of best and vse_infinity, rate 1e-3, full set, 5 epochs": Mean(
        ("best, full set", "vse_infinity, rate 1e-3, full set, 5 epochs")
    ),
    "mean of best and vse_infinity, rate 1e-3, full set": Mean(
        ("best, full set", "vse_infinity, rate 1e-3, full set, 2 epochs")
    ),
    "mean of best and sgraf_saf, rate 1e-3, full set": Mean(
        ("best, full set", "sgraf_saf, rate 1e-3, full set, 2 epochs")
    ),
    "mean of best, sgraf_sgr and sgraf_saf, rate 1e-3, full set": Mean(
        ("best, full set", "sgraf_sgr, rate 1e-3, full set, 2 epochs", "sgraf_saf, rate 1e-3, full set, 2 epochs")
    ),
    "mean of best_pretrained, sgraf_sgr and sgraf_saf, rate 1e-3, full set": Mean(
        (
            "best_pretrained, full set",
            "sgraf_sgr, rate 1e-3, full set, 2 epochs",
            "sgraf_saf, rate 1e-3, full set, 2 epochs",
        )
    ),
    "weighted mean of five kinds, full set": Mean(
        (
            "best_pretrained, full set",
            "sgraf_saf, rate 1e-3, full set, 5 epochs",
            "sgraf_sgr, rate 1e-3, full set, 4 epochs",
            "vse_infinity, rate 1e-3, full set, 5 epochs",
            "bert_vse, frozen, rate 1e-3, full set, 4 epochs",
        ),
        (0.375, 0.1875, 0.0625, 0.1875, 0.1875),
    ),
}
GROUPS: dict[str, dict[str, Row | Mean | Ensemble]] = {
    "2,910 pairs: closed form": CLOSED_FORM,
    "2,910 pairs: trained by gradient": NETWORKS,
    "2,910 pairs: several models": ENSEMBLES,
    "500 of these pairs": FEW_PAIRS,
    "A larger set: 15,445 captions of 3,089 other images": LARGER_SET,
    "2,910 pairs, and the synthetic demo set": OTHER_DOMAIN,
    "29,995 captions of 5,999 images": FULL_SET,
}
"""Rows by the data that they train on."""
ROWS = {name: row for group in GROUPS.values() for name, row in group.items() if isinstance(row, Row)}
MEANS = {name: row for group in GROUPS.values() for name, row in group.items() if not isinstance(row, Row)}


def command_of(name: str, seed: int) -> list[str]:
    """Return the words of a row's command, with placeholders for the folders of this machine."""
    row = ROWS[name]
    words = [*row.words, f"data=f8kcn_{row.trained_on}", f"data.root=<{row.trained_on}>"]
    return words if ENSEMBLE in words else [*words, f"seed={seed}"]


def folder_of(name: str, seed: int) -> Path:
    """Return the folder of what is kept of a run."""
    return RUNS / f"{name.replace(',', '').replace(' ', '-')}-{seed}"
