"""The commands of the page "Your data", from a TSV and a ``dataset.json`` to a trained model and a diagnosis."""

import json
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from helpers.cli import run_cli_in_process
from helpers.foreign_files import make_boxes, make_regions, write_bottom_up, write_karpathy
from helpers.precomp import make_captions

ROOT = Path(__file__).parents[2]
PREFIX = "python -m tangka_match."
IMAGES = 60
COUNTS = [3 + image % 4 for image in range(IMAGES)]
SHORT = (
    "trainer.max_steps=4",
    "trainer.accelerator=cpu",
    "logger=csv",
    "scheduler.warmup_steps=1",
    "data.batch_size=16",
)


def walk():
    """Return the commands of the first code block of the page."""
    block = (ROOT / "docs" / "data.md").read_text("utf-8").split("```bash\n")[1].split("```")[0]
    return [line.removeprefix(PREFIX) for line in block.splitlines()]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"{1000 + image}_ab.jpg" for image in range(IMAGES)]
    ids = [name.removesuffix(".jpg") for name in names]
    write_bottom_up(tmp_path / "trainval_36.tsv", ids, make_regions(COUNTS, dim=16), make_boxes(COUNTS))
    texts = [(text, f"{text}第{n}幅") for n, text in enumerate(make_captions(range(IMAGES)))]
    splits = ["train"] * 40 + ["val"] * 10 + ["test"] * 10
    write_karpathy(tmp_path / "dataset_flickr8k.json", names, texts, splits)
    return tmp_path


def test_four_commands_lead_from_the_files_to_a_diagnosis(files):
    commands = walk()
    assert [command.split()[0] for command in commands] == ["prepare", "train", "evaluate", "diagnose"]
    for command in commands:
        run_ids = [path.name for path in files.glob("runs/*-*-*-*")]
        module, *words = shlex.split(command.replace("<run id>", run_ids[0] if run_ids else "none"))
        extra = SHORT if module == "train" else ()
        done = run_cli_in_process(*words, *extra, main=import_module(f"tangka_match.{module}").main)
        assert done.code == 0, f"{command}\n{done.stderr}"
    assert json.loads((files / "evaluation" / "metrics.json").read_text("utf-8"))["num_captions"] == 20
    assert set(json.loads((files / "diagnosis" / "diagnosis.json").read_text("utf-8"))["sections"]) >= {
        "texts",
        "model",
    }
