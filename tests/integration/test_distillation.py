"""Distillation from two teachers with different vocabularies, from the command line."""

import json

import pytest

from helpers.cli import run_cli_in_process
from tangka_match.evaluate import main as evaluate

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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("distillation=score", "distillation.teachers=[nowhere.ckpt]"), "nowhere.ckpt: no such file"),
        (("distillation=rank",), "distillation.teachers is empty"),
        (("distillation.teachers=[nowhere.ckpt]",), "distillation=none: choose distillation=score"),
    ],
)
def test_missing_teachers_are_reported(demo_data, tmp_path, words, message):
    done = run_cli_in_process(*TINY, *words, *places(demo_data, tmp_path))
    assert done.code == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "runs").exists()
