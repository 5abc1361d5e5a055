"""Files of every kind that commands read, a reader for each, and ways to damage them."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from helpers.precomp import make_captions, write_dataset
from helpers.run_folders import write_run
from helpers.small_checkpoints import write_checkpoint
from tangka_match import load
from tangka_match.analysis.diagnosis.sections import find_best_checkpoint, training_section
from tangka_match.data.importers.arrays import open_npy
from tangka_match.data.split import load_split
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import TangkaMatchError
from tangka_match.records.run_files import read_run_files
from tangka_match.records.run_record import make_record
from tangka_match.retrieval.evaluation_files import read_ranks_table
from tangka_match.retrieval.given_scores import Pairing, read_scores
from tangka_match.retrieval.index_files import Manifest, read_encoded, read_ids
from tangka_match.sweeps.job import read_run_metrics
from tangka_match.sweeps.manifest import Manifest as SweepManifest

NASTY: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        float("nan"),
        float("inf"),
        2**62,
        10**30,
        "",
        "NaN",
        "绿度母",
        [],
        [[]],
        {},
        {"a": 1},
    ),
    *([None], "../x", "\x00", [1, 2, 3], ["a"], {"_target_": "os.getcwd"}),
]


class Kind(NamedTuple):
    """Kind of file.

    Attributes:
        write: Writes a sound file into a folder, and returns its path.
        read: Reads the file as commands do.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], object]


def _features(folder: Path) -> Path:
    return write_dataset(folder) / "train_ims.npy"


def _captions(folder: Path) -> Path:
    return write_dataset(folder) / "train_caps.txt"


def _vocabulary(folder: Path) -> Path:
    Vocabulary(["一个", "男人"]).save_json(folder / "vocab.json")
    return folder / "vocab.json"


def _checkpoint(folder: Path) -> Path:
    return write_checkpoint(folder / "best.ckpt", make_captions(range(6)))


def _scores(folder: Path) -> Path:
    np.save(folder / "scores.npy", np.random.default_rng(0).normal(size=(4, 8)).astype("float32") + np.eye(4, 8))
    return folder / "scores.npy"


def _ranks(folder: Path) -> Path:
    return write_run(folder, "run", ranks=True) / "ranks.csv"


def _of_run(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        run = write_run(folder, "run", ranks=True)
        (run / "environment.json").write_text(json.dumps({"command": "train", "git_commit": "abc"}))
        return run / name

    return write


def _read_run(path: Path) -> object:
    run = path.parent
    try:
        find_best_checkpoint(run, run)
        training_section(run)
        read_run_metrics(run)
    except TangkaMatchError:
        pass
    return make_record(read_run_files(run))


def _sweep(folder: Path) -> Path:
    manifest = SweepManifest(folder / "manifest.jsonl")
    manifest.write("sweep", sweep="s", kind="study", digest="d")
    manifest.write("job", job=0, overrides=["seed=1"], params={"seed": 1})
    manifest.write("start", job=0, host="h", pid=1)
    manifest.write("end", job=0, status="finished", runs=["a"], metrics={"mean_r1": 1.0}, reports={"0": 1.0})
    return manifest.path


def _read_sweep(path: Path) -> object:
    content = SweepManifest(path).read()
    return [
        (job.status, sum((job.end or {}).get("metrics", {}).values()), *(job.end or {}).get("runs", []))
        for job in content.jobs.values()
    ]


def _index(folder: Path) -> Path:
    Manifest("encoder", "0", 2, {"pooled": [3]}, 4, {"a": 1}).write(folder)
    (folder / "pooled-0.bin").write_bytes(bytes(24))
    (folder / "ids-0.bin").write_bytes(b"a\nb\n")
    return next(folder.glob("*.json"))


def _read_index(path: Path) -> object:
    manifest = Manifest.read(path.parent)
    return manifest and (read_encoded(path.parent, manifest), read_ids(path.parent, manifest))


KINDS = {
    "features": Kind(_features, lambda path: load_split(path.parent, "train")),
    "captions": Kind(_captions, lambda path: load_split(path.parent, "train")),
    "vocabulary": Kind(_vocabulary, Vocabulary.load),
    "checkpoint": Kind(_checkpoint, load),
    "scores": Kind(_scores, lambda path: read_scores(path, Pairing(2, None))),
    "array": Kind(_scores, lambda path: open_npy(path).rows(0, 1)),
    "ranks": Kind(_ranks, read_ranks_table),
    "config": Kind(_of_run("config.yaml"), _read_run),
    "ledger": Kind(_of_run("ledger.jsonl"), _read_run),
    "result": Kind(_of_run("result.json"), _read_run),
    "environment": Kind(_of_run("environment.json"), _read_run),
    "sweep": Kind(_sweep, _read_sweep),
    "index": Kind(_index, _read_index),
}


def damage(path: Path, seed: int) -> str:
    """Damage a file in a random way, and say how."""
    draws = random.Random(seed)  # noqa: S311 - not a secret
    if path.suffix == ".ckpt":
        return _damage_checkpoint(path, draws)
    if path.suffix in (".json", ".jsonl") and draws.random() < 0.7:
        return _damage_json(path, draws)
    content = bytearray(path.read_bytes())
    # The header of an array, where most damage can be done, is short.
    place = draws.randrange(min(len(content), 128) if path.suffix == ".npy" else len(content))
    how = draws.choice(["flip", "cut", "insert", "remove", "byte"])
    if how == "flip":
        content[place] ^= 1 << draws.randrange(8)
    elif how == "cut":
        del content[place:]
    elif how == "insert":
        pieces = (b"\xff", b"0" * 5000, b"[" * 9000, b"*a &a", b"\x00", b",", b"'", b'"', b"- " * 9000, b"nan", b"\n")
        content[place:place] = draws.choice(pieces)
    elif how == "remove":
        del content[place : place + draws.randint(1, 9)]
    else:
        content[place] = draws.randrange(256)
    path.write_bytes(content)
    return f"{how} at {place}"


def _damage_json(path: Path, draws: random.Random) -> str:
    lines = path.read_text("utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]
    at = draws.randrange(len(lines))
    content, said = _replaced(json.loads(lines[at]), draws)
    lines[at] = json.dumps(content)
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return said


def _damage_checkpoint(path: Path, draws: random.Random) -> str:
    content, said = _replaced(torch.load(path, weights_only=True), draws)
    torch.save(content, path)
    return said


def _replaced(content: Any, draws: random.Random) -> tuple[Any, str]:
    """Remove or replace one entry at any depth; deeper ones are as likely as others."""
    content = copy.deepcopy(content)
    node, path = content, []
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return content, "nothing"
        key = draws.choice(keys)
        path.append(key)
        inner = node[key]
        if isinstance(inner, dict | list) and inner and draws.random() < 0.7:
            node = inner
            continue
        if draws.random() < 0.4:
            del node[key]
            return content, f"without {path}"
        node[key] = draws.choice(NASTY)
        return content, f"{path} is {node[key]!r}"


def unexpected(kind: str, folder: Path, seed: int | None) -> tuple[str, Exception | None]:
    """Write, damage and read a file; return the damage, and the exception if it is none of ours."""
    path = KINDS[kind].write(folder)
    if seed is None and kind == "index":
        assert KINDS[kind].read(path), "a sound manifest is accepted"
    said = "" if seed is None else damage(path, seed)
    try:
        KINDS[kind].read(path)
    except TangkaMatchError:
        return said, None
    except Exception as error:
        return said, error
    return said, None


__all__ = ["KINDS", "unexpected"]
