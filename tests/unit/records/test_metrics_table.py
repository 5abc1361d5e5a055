import csv

import pytest

from tangka_match.records.metrics_table import MetricsTable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_columns_begin_with_step_and_epoch(path):
    MetricsTable(path).append(0, 0, {"train/loss": 0.5, "train/lr": 0.001})
    assert path.read_text("utf-8").splitlines() == ["step,epoch,train/loss,train/lr", "0,0,0.5,0.001"]


def test_a_metric_that_turns_up_later_gets_a_column_and_the_rows_before_stay_empty(path):
    table = MetricsTable(path)
    table.append(0, 0, {"train/loss": 0.5})
    table.append(2, 0, {"val/rsum": 12.0})
    table.append(3, 1, {"train/loss": 0.25})
    assert path.read_text("utf-8").splitlines() == [
        "step,epoch,train/loss,val/rsum",
        "0,0,0.5,",
        "2,0,,12.0",
        "3,1,0.25,",
    ]


def test_gaps_stay_gaps_when_one_more_metric_turns_up(path):
    table = MetricsTable(path)
    for step, name in enumerate(("train/loss", "val/rsum", "val/loss")):
        table.append(step, 0, {name: 0.5})
    assert path.read_text("utf-8").splitlines()[1:] == ["0,0,0.5,,", "1,0,,0.5,", "2,0,,,0.5"]


def test_a_row_is_in_the_file_as_soon_as_it_is_added(path):
    table = MetricsTable(path)
    for step in range(3):
        table.append(step, 0, {"train/loss": 0.5})
        assert len(rows(path)) == step + 1


def test_a_known_metric_does_not_make_the_file_anew(path):
    table = MetricsTable(path)
    table.append(0, 0, {"train/loss": 0.5})
    file = path.stat().st_ino
    table.append(1, 0, {"train/loss": 0.4})
    assert path.stat().st_ino == file
    table.append(2, 0, {"val/rsum": 1.0})
    assert path.stat().st_ino != file


def test_numbers_keep_all_their_digits(path):
    table = MetricsTable(path)
    value = 0.1 + 0.2
    table.append(1_000_000, 0, {"train/loss": value})
    table.append(1_000_001, 0, {"val/rsum": 1e-12})
    assert float(rows(path)[0]["train/loss"]) == value
    assert rows(path)[0]["step"] == "1000000"
    assert float(rows(path)[1]["val/rsum"]) == 1e-12


def test_replacing_keeps_the_rows_given_and_their_metrics(path):
    table = MetricsTable(path)
    for step in range(4):
        table.append(step, 0, {"train/loss": float(step)})
    table.replace([{"step": 0, "epoch": 0, "train/loss": 0.0}, {"step": 1, "epoch": 0, "val/rsum": 5.0}])
    assert path.read_text("utf-8").splitlines() == ["step,epoch,train/loss,val/rsum", "0,0,0.0,", "1,0,,5.0"]


def test_a_table_goes_on_after_replacing(path):
    table = MetricsTable(path)
    table.replace([{"step": 0, "epoch": 0, "train/loss": 0.5}])
    table.append(1, 0, {"train/loss": 0.4})
    assert [row["train/loss"] for row in rows(path)] == ["0.5", "0.4"]


def test_replacing_with_nothing_leaves_the_heading(path):
    table = MetricsTable(path)
    table.append(0, 0, {"train/loss": 0.5})
    table.replace([])
    assert path.read_text("utf-8").splitlines() == ["step,epoch"]


def test_no_half_written_file_is_left(path):
    table = MetricsTable(path)
    table.append(0, 0, {"train/loss": 0.5})
    table.append(1, 0, {"val/rsum": 0.5})
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]
