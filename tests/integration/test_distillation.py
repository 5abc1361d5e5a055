"""Distillation from two teachers with different vocabularies, from the command line."""

import json
import shutil

import pytest
import torch

from helpers.cli import run_cli_in_process
from helpers.tiny_pretrained import write_bert
from tangka_match.evaluate import main as evaluate
from tangka_match.retrieval.metadata import read_checkpoint

from .conftest import places

TINY = ("+experiment=debug", "logger=csv")


def test_student_of_two_teachers_is_evaluated_without_them(train, demo_data, tmp_path):
    where = places(demo_data, tmp_path)
    for words in (("data.min_count=1",), ("data.min_count=4", "seed=1")):
        assert run_cli_in_process(*TINY, *words, "name=teacher", *where).code == 0
    teachers = sorted(tmp_path.glob("checkpoints/teacher/*/best.ckpt"))
    assert len(teachers) == 2
    done = train(*TINY, "name=student", "distillation=score", f"distillation.teachers=[{teachers[0]},{teachers[1]}]")
    assert done.code == 0, done.stderr
    (metrics,) = (
        path.parent / "metrics.csv"
        for path in tmp_path.glob("runs/*/config.yaml")
        if "name: student" in path.read_text("utf-8")
    )
    assert "train/distillation" in metrics.read_text("utf-8")
    for path in teachers:
        path.unlink()
    (student,) = tmp_path.glob("checkpoints/student/*/best.ckpt")
    out = tmp_path / "out"
    data = f"data.root={demo_data / 'demo_small'}"
    evaluated = run_cli_in_process(f"checkpoint={student}", data, "split=test", f"out={out}", main=evaluate)
    assert evaluated.code == 0, evaluated.stderr
    assert json.loads(next(out.rglob("metrics.json")).read_text("utf-8"))


def test_student_of_a_text_encoder_is_evaluated_without_it(train, demo_data, tmp_path):
    bert = write_bert(tmp_path / "bert")
    sentences = ("distillation=sentences", f"distillation.text_model={bert}", "distillation.same_above=0.9")
    for words in (sentences, sentences, ()):
        done = train(*TINY, *words, "name=student")
        assert done.code == 0, done.stderr
    shutil.rmtree(bert)
    first, again, plain = (
        read_checkpoint(path)["state_dict"] for path in sorted(tmp_path.glob("checkpoints/student/*/best.ckpt"))
    )
    assert first.keys() == plain.keys()  # nothing of the encoder
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], plain[key]) for key in first)
    data, out = f"data.root={demo_data / 'demo_small'}", tmp_path / "out"
    checkpoint = min(tmp_path.glob("checkpoints/student/*/best.ckpt"))
    evaluated = run_cli_in_process(f"checkpoint={checkpoint}", data, "split=test", f"out={out}", main=evaluate)
    assert evaluated.code == 0, evaluated.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("distillation=score", "distillation.teachers=[nowhere.ckpt]"), "nowhere.ckpt: no such file"),
        (("distillation=rank",), "distillation.teachers is empty"),
        (("distillation.teachers=[nowhere.ckpt]",), "distillation=none: choose distillation=score"),
        (("distillation=sentences",), "distillation.text_model"),
        (("distillation=sentences", "distillation.text_model=nowhere/x"), "nowhere/x"),
    ],
)
def test_missing_teachers_are_reported(demo_data, tmp_path, words, message):
    done = run_cli_in_process(*TINY, *words, *places(demo_data, tmp_path))
    assert done.code == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "runs").exists()
