import tracemalloc

import pytest

from tangka_match.records.ledger import MAX_LINE, Ledger, LedgerLines, read_ledger


def steps(path):
    return [e["step"] for e in read_ledger(path) if e["event"] == "metrics"]


def test_events_are_read_in_order(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write("start", name="唐卡")
    ledger.write("end", status="finished")
    events = read_ledger(ledger.path)
    assert [e["event"] for e in events] == ["start", "end"]
    assert events[0]["name"] == "唐卡"
    assert "唐卡" in ledger.path.read_text("utf-8")


def test_steps_repeated_by_a_resumed_run_are_read_once(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for step in (1, 2, 3):
        ledger.write("metrics", step=step, epoch=0, values={"a": step})
    ledger.write("resume", step=2)
    for step in (2, 3, 4):
        ledger.write("metrics", step=step, epoch=0, values={"a": 10 * step})
    assert steps(ledger.path) == [1, 2, 3, 4]
    assert [e["values"]["a"] for e in read_ledger(ledger.path) if e["event"] == "metrics"] == [1, 20, 30, 40]


def test_truncated_line_does_not_damage_the_next(tmp_path):
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
        '{"event": "metrics", "time": 0, "step": NaN, "epoch": 0, "values": {}}',
        '{"event": "verdict", "time": 1e300}',
        '{"time": 1}',
        '{"event": 3}',
        '{"event": "metrics", "time": 0, "epoch": 0, "values": {"a": 1}}',
        '{"event": "metrics", "time": 0, "step": 1, "values": {"a": 1}}',
        '{"event": "metrics", "time": 0, "step": 1, "epoch": 0}',
        '{"event": "metrics", "step": 1, "epoch": 0, "values": {"a": 1}}',
        '{"event": "metrics", "time": 0, "step": 1, "epoch": 0, "values": [1]}',
        '{"event": "metrics", "time": 0, "step": 1, "epoch": 0, "values": {"a": "high"}}',
        '{"event": "metrics", "time": 0, "step": 1, "epoch": 0, "values": {"a": "NaN"}}',
        '{"event": "metrics", "time": 0, "step": 1, "epoch": 0, "values": {"a": true}}',
        '{"event": "metrics", "time": 0, "step": "1", "epoch": 0, "values": {"a": 1}}',
        '{"event": "metrics", "time": 0, "step": 1.5, "epoch": 0, "values": {"a": 1}}',
        '{"event": "metrics", "time": 0, "step": 1' + 5000 * "0" + ', "epoch": 0, "values": {"a": 1}}',
        '{"event": "metrics", "time": 0, "step": 1, "epoch": 0, "values": {"a": 1' + 400 * "0" + "}}",
        '{"event": "metrics", "time": 0, "step": 1, "epoch": 0, "values": {}, "more": ' + "[" * 10_000,
        '{"event": "start", "time": 0, "name": {"a": 1}}',
        '{"event": "start", "time": 0, "tags": "small"}',
        '{"event": "start", "time": 0, "seed": "one"}',
        '{"event": "verdict", "time": 0, "message": "without a code"}',
        '{"event": "checkpoint", "time": 0, "step": null}',
        '{"event": "end", "time": 0, "status": 3}',
        '{"event": "environment"}',
        '{"event": "environment", "time": 0, "command": "' + "x" * (MAX_LINE + 9) + '"}',
        '{"event": "resume", "time": 0}',
        '{"event": "end", "time": 0}',
        "[" * 100_000,
    ],
)
def test_damaged_line_is_skipped_and_counted(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    good = '{"event": "metrics", "time": 0, "step": 1, "epoch": 0, "values": {"a": NaN, "b": -Infinity}}'
    path.write_text(f'{{"event": "start", "time": 0}}\n{line}\n\n{good}\n', "utf-8")
    lines = LedgerLines(path)
    assert [event["event"] for event in lines] == ["start", "metrics"]
    assert lines.skipped == 1


def test_event_of_a_kind_that_is_not_known_is_kept(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write("moved", to="/data")
    assert read_ledger(ledger.path)[0]["to"] == "/data"


def test_resume_drops_metrics_after_its_step(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for step in (0, 1, 2):
        ledger.write("metrics", step=step, epoch=0, values={})
    ledger.write("resume", step=2)
    assert steps(ledger.path) == [0, 1]


def test_metrics_of_several_resumes_are_read_once(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for first, last in ((0, 6), (4, 8), (2, 5)):
        if first:
            ledger.write("resume", step=first)
        for step in range(first, last):
            ledger.write("metrics", step=step, epoch=0, values={"a": 10 * first + step})
    kept = [(e["step"], e["values"]["a"]) for e in read_ledger(ledger.path) if e["event"] == "metrics"]
    assert kept == [(0, 0), (1, 1), (2, 22), (3, 23), (4, 24)]


def test_large_ledger_is_read_in_little_memory(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write("metrics", step=0, epoch=0, values={"a": 1})
    ledger.path.write_bytes(ledger.path.read_bytes() * 20_000)
    tracemalloc.start()
    assert sum(1 for _ in LedgerLines(ledger.path)) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MAX_LINE
