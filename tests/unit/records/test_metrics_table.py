import csv

import pytest

from tangka_match.records.metrics_table import MetricsTable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_columns_begin_with_step_and_epoch(path):
    MetricsTable(path).append(0, 0, {"train/loss": 0.5, "train/lr": 0.001})
    assert path.read_text("utf-8").splitlines() == ["step,epoch,train/loss,train/lr", "0,0,0.5,0.001"]


def test_new_metric_adds_a_column(path):
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


def test_empty_cells_stay_empty_when_a_column_is_added(path):
    table = MetricsTable(path)
    for step, name in enumerate(("train/loss", "val/rsum", "val/loss")):
        table.append(step, 0, {name: 0.5})
    assert path.read_text("utf-8").splitlines()[1:] == ["0,0,0.5,,", "1,0,,0.5,", "2,0,,,0.5"]


def test_row_is_in_the_file_after_append(path):
    table = MetricsTable(path)
    for step in range(3):
        table.append(step, 0, {"train/loss": 0.5})
        assert len(rows(path)) == step + 1


def test_known_metric_does_not_rewrite_the_file(path):
    table = MetricsTable(path)
    table.append(0, 0, {"train/loss": 0.5})
    file = path.stat().st_ino
    table.append(1, 0, {"train/loss": 0.4})
    assert path.stat().st_ino == file
    table.append(2, 0, {"val/rsum": 1.0})
    assert path.stat().st_ino != file


def test_numbers_keep_all_digits(path):
    table = MetricsTable(path)
    value = 0.1 + 0.2
    table.append(1_000_000, 0, {"train/loss": value})
    table.append(1_000_001, 0, {"val/rsum": 1e-12})
    assert float(rows(path)[0]["train/loss"]) == value
    assert rows(path)[0]["step"] == "1000000"
    assert float(rows(path)[1]["val/rsum"]) == 1e-12


def test_replace_writes_given_rows_and_their_columns(path):
    table = MetricsTable(path)
    for step in range(4):
        table.append(step, 0, {"train/loss": float(step)})
    table.replace([{"step": 0, "epoch": 0, "train/loss": 0.0}, {"step": 1, "epoch": 0, "val/rsum": 5.0}])
    assert path.read_text("utf-8").splitlines() == ["step,epoch,train/loss,val/rsum", "0,0,0.0,", "1,0,,5.0"]


def test_append_after_replace(path):
    table = MetricsTable(path)
    table.replace([{"step": 0, "epoch": 0, "train/loss": 0.5}])
    table.append(1, 0, {"train/loss": 0.4})
    assert [row["train/loss"] for row in rows(path)] == ["0.5", "0.4"]


def test_replace_with_no_rows_leaves_the_header(path):
    table = MetricsTable(path)
    table.append(0, 0, {"train/loss": 0.5})
    table.replace([])
    assert path.read_text("utf-8").splitlines() == ["step,epoch"]


def test_no_temporary_file_is_left(path):
    table = MetricsTable(path)
    table.append(0, 0, {"train/loss": 0.5})
    table.append(1, 0, {"val/rsum": 0.5})
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]
