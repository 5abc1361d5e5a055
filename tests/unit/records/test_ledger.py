import pytest

from tangka_match.records.ledger import Ledger, read_ledger, scan_ledger


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
def test_damaged_line_is_skipped_and_counted(tmp_path, line):
    path = tmp_path / "ledger.jsonl"
    path.write_text(
        f'{{"event": "start"}}\n{line}\n\n{{"event": "metrics", "step": 1, "values": {{"a": NaN}}}}\n', "utf-8"
    )
    events, skipped = scan_ledger(path)
    assert [event["event"] for event in events] == ["start", "metrics"]
    assert skipped == 1


def test_resume_drops_metrics_after_its_step(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for step in (0, 1, 2):
        ledger.write("metrics", step=step, epoch=0, values={})
    ledger.write("resume", step=2)
    assert steps(ledger.path) == [0, 1]
