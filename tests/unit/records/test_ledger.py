import csv

import pytest

from tangka_match.records.ledger import Ledger, read_ledger, scan_ledger
from tangka_match.records.metrics_table import MetricsTable
from tangka_match.training.loggers import LedgerLogger


def steps(path):
    return [e["step"] for e in read_ledger(path) if e["event"] == "metrics"]


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_events_come_back_in_order(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write("start", name="唐卡")
    ledger.write("end", status="finished")
    events = read_ledger(ledger.path)
    assert [e["event"] for e in events] == ["start", "end"]
    assert events[0]["name"] == "唐卡"
    assert "唐卡" in ledger.path.read_text("utf-8")


def test_steps_that_a_resumed_run_repeats_count_once(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for step in (1, 2, 3):
        ledger.write("metrics", step=step, epoch=0, values={"a": step})
    ledger.write("resume", step=2)
    for step in (2, 3, 4):
        ledger.write("metrics", step=step, epoch=0, values={"a": 10 * step})
    assert steps(ledger.path) == [1, 2, 3, 4]
    assert [e["values"]["a"] for e in read_ledger(ledger.path) if e["event"] == "metrics"] == [1, 20, 30, 40]


def test_a_line_cut_off_by_a_kill_costs_only_itself(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write("metrics", step=1, epoch=0, values={})
    with ledger.path.open("a") as file:
        file.write('{"event": "metrics", "st')
    ledger.write("resume", step=2)
    ledger.write("metrics", step=2, epoch=0, values={})
    assert steps(ledger.path) == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "metrics", "st',
        "\x00\x00\x00",
        "[1, 2]",
        '{"event": "metrics", "step": NaN, "values": {}}',
        '{"event": "metrics", "step": 1, "values": {"a": 1' + 400 * "0" + "}}",
        '{"event": "verdict", "time": 1e300}',
        '{"time": 1}',
        '{"event": 3}',
        '{"event": "metrics", "values": {"a": 1}}',
        '{"event": "metrics", "step": 1, "values": [1]}',
        '{"event": "metrics", "step": 1, "values": {"a": "high"}}',
        '{"event": "resume"}',
        '{"event": "end"}',
        "[" * 100_000,
    ],
)
def test_a_damaged_line_is_skipped_and_counted(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    path.write_text(
        f'{{"event": "start"}}\n{line}\n\n{{"event": "metrics", "step": 1, "values": {{"a": NaN}}}}\n', "utf-8"
    )
    events, skipped = scan_ledger(path)
    assert [event["event"] for event in events] == ["start", "metrics"]
    assert skipped == 1


def test_the_table_grows_columns_and_keeps_rows(tmp_path):
    table = MetricsTable(tmp_path / "metrics.csv")
    table.append(1, 0, {"train/loss": 0.5})
    table.append(2, 0, {"val/rsum": 12.0})
    table.append(3, 1, {"train/loss": 0.25, "val/rsum": 13.0})
    assert [row["train/loss"] for row in rows(tmp_path / "metrics.csv")] == ["0.5", "", "0.25"]
    assert [row["val/rsum"] for row in rows(tmp_path / "metrics.csv")] == ["", "12.0", "13.0"]
    assert [row["step"] for row in rows(tmp_path / "metrics.csv")] == ["1", "2", "3"]


def test_a_run_that_goes_on_after_two_steps_has_steps_0_and_1(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for step in (0, 1, 2):
        ledger.write("metrics", step=step, epoch=0, values={})
    ledger.write("resume", step=2)
    assert steps(ledger.path) == [0, 1]


def test_rewinding_takes_later_rows_out_of_the_table(tmp_path):
    table = MetricsTable(tmp_path / "metrics.csv")
    logger = LedgerLogger(Ledger(tmp_path / "ledger.jsonl"), table)
    for step in (1, 2, 3):
        logger.log_metrics({"train/loss": 1.0 / step, "epoch": 0}, step)
    logger.rewind(3)
    logger.log_metrics({"train/loss": 9.0, "epoch": 0}, 3)
    assert [float(r["train/loss"]) for r in rows(tmp_path / "metrics.csv")] == pytest.approx([1.0, 0.5, 9.0])
    assert steps(tmp_path / "ledger.jsonl") == [1, 2, 3]
