import pytest

from tangka_match.records.ledger import Ledger, read_ledger
from tangka_match.records.working_time import PHASES, WorkingTime, read_working_time


def test_events_of_all_epochs_and_parts_are_added_up():
    events = [
        {"event": "phases", "seconds": {"data": 1.0, "validation": 2.0}, "gpu_busy": 10.0, "peak_memory_mib": 100.0},
        {"event": "resume", "step": 3},
        {"event": "phases", "seconds": {"data": 5.0, "optimizer": 4.0}, "gpu_busy": 30.0, "peak_memory_mib": 80.0},
    ]
    time = read_working_time(events)
    assert time.seconds == {"data": 6.0, "optimizer": 4.0, "validation": 2.0}
    assert time.gpu_busy == pytest.approx((10 * 3 + 30 * 9) / 12), "weighted by time"
    assert time.peak_memory_mib == 100.0


def test_order_is_that_of_the_phases():
    time = read_working_time([{"event": "phases", "seconds": dict.fromkeys(reversed(PHASES), 1.0)}])
    assert tuple(time.seconds) == PHASES


@pytest.mark.parametrize("seconds", [None, 3, [1], {"data": "1"}, {"data": float("nan")}, {"data": -1.0}])
def test_damaged_events_are_skipped(tmp_path, seconds):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.write("phases", seconds=seconds)
    ledger.write("phases", seconds={"data": 2.0})
    assert read_working_time(read_ledger(ledger.path)) == WorkingTime({"data": 2.0})


def test_phases_of_other_versions_are_ignored():
    assert read_working_time([{"event": "phases", "seconds": {"lunch": 1.0}}]) == WorkingTime({})


def test_what_is_recorded_is_read_again():
    time = WorkingTime({"data": 1.25, "validation": 2.5}, gpu_busy=15.5, peak_memory_mib=1024.0)
    assert read_working_time([{"event": "phases", **time.record()}]) == time


def test_run_without_measurement_has_no_line():
    assert WorkingTime({}).describe() == ""
    assert WorkingTime({}).shares == {}
