import os
import signal
import subprocess
import sys
import time

import pytest
from pytorch_lightning.utilities.exceptions import SIGTERMException

from helpers.forks import in_fork
from tangka_match.training import stopping
from tangka_match.training.stopping import MAX_BATCHES, StopRequest


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_signal_outside_of_training_ends_the_run_once():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest().listening():
        with pytest.raises(SIGTERMException) as caught:
            terminate()
        terminate()  # while the end is recorded
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_signal_in_training_waits_for_its_end():
    after = []
    with StopRequest().listening() as stop:
        with pytest.raises(SIGTERMException), stop.training():
            terminate()
            terminate()
            after.append("still training")
        assert (stop.received, stop.agreed, after) == (True, False, ["still training"])


def test_late_signal_does_not_interrupt_the_records_of_a_stop_that_others_asked_for():
    seen = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: seen.append("requeued"))
    try:
        with StopRequest().listening() as stop:
            with pytest.raises(SIGTERMException), stop.training():
                stop.agree(lambda values: [1.0, 0.0, values[2]], now=True)
                raise SIGTERMException(143)  # as Lightning's loops do
            terminate()
            os.kill(os.getpid(), signal.SIGUSR2)
            seen.append("end recorded")
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == ["end recorded", "requeued"]


@pytest.mark.parametrize("numbers", [(signal.SIGUSR2,), (signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR2)])
def test_job_is_requeued_once_after_its_run_has_stopped(numbers):
    """submitit's handler ends the process, too; Slurm sends SIGTERM as well where it preempts a job."""
    seen = []

    def requeue(number, frame):
        seen.append(f"requeued by {number}")
        raise SystemExit(144)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        with pytest.raises(SystemExit) as caught, StopRequest().listening() as stop:
            try:
                with stop.training():
                    for number in numbers:
                        os.kill(os.getpid(), number)
                    seen.append("still training")
            finally:
                seen.append("stopped")
        assert signal.getsignal(signal.SIGUSR2) is requeue
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == ["still training", "stopped", f"requeued by {signal.SIGUSR2}"]
    assert caught.value.code == 144


def test_signals_without_a_handler_keep_their_meaning():
    before = signal.getsignal(signal.SIGUSR1)
    with StopRequest().listening():
        assert signal.getsignal(signal.SIGUSR1) is before


def test_processes_agree_when_one_has_got_the_signal():
    seen = []

    def other_has_got_it(values):
        seen.append(values[:2])
        return [1.0, 0.0, values[2]]

    stop = StopRequest()
    stop.agree(other_has_got_it)
    assert seen == [[0.0, 0.0]]
    assert (stop.received, stop.agreed, stop.ends_validation) == (False, True, False)


@pytest.mark.parametrize(("pace", "calls"), [(5.0, 1), (0.5, 4), (1e-9, MAX_BATCHES)])
def test_agreements_are_as_rare_as_the_slowest_process_allows(pace, calls):
    counts = []
    stop = StopRequest()
    stop.agree(lambda values: [0.0, 0.0, pace])
    for call in range(1, 2 * calls + 1):
        stop.agree(lambda values, call=call: (counts.append(call), [0.0, 0.0, pace])[1])
    assert counts == [calls, 2 * calls]
    stop.agree(lambda values: (counts.append("now"), [0.0, 0.0, pace])[1], now=True)
    assert counts[-1] == "now"


def test_validation_ends_when_the_signal_has_waited(monkeypatch):
    with StopRequest().listening() as stop, pytest.raises(SIGTERMException), stop.training():
        terminate()
        stop.agree(lambda values: values, now=True)
        assert (stop.agreed, stop.ends_validation) == (True, False)
        monkeypatch.setattr(stopping, "VALIDATION_SECONDS", 0.0)
        stop.agree(lambda values: values, now=True)
        assert stop.ends_validation


@pytest.mark.parametrize(("connected", "bound"), [(True, "GRACE_SECONDS"), (False, "CONNECTION_SECONDS")])
def test_process_that_cannot_stop_is_ended_in_time(tmp_path, monkeypatch, connected, bound):
    monkeypatch.setattr(stopping, bound, 0.1)

    def work():
        with StopRequest().listening() as stop, stop.recorded_by((tmp_path / "end").write_text), stop.training():
            stop.is_connected = connected
            terminate()
            time.sleep(60)

    assert in_fork(work) == 143
    assert (tmp_path / "end").read_text() == "stopped"


@pytest.mark.parametrize("reaches_main_thread", [True, False])
@pytest.mark.parametrize(("error", "code"), [(SystemExit(44), 44), (OSError("no scontrol"), 143)])
def test_job_that_cannot_stop_is_requeued_and_ended_in_time(tmp_path, monkeypatch, error, code, reaches_main_thread):
    monkeypatch.setattr(stopping, "GRACE_SECONDS", 0.1)

    def requeue(number, frame):
        (tmp_path / "requeued").write_text((tmp_path / "end").read_text())
        raise error

    def work():
        signal.signal(signal.SIGUSR2, requeue)
        with StopRequest().listening() as stop, stop.recorded_by((tmp_path / "end").write_text), stop.training():
            stop.is_connected = True
            if not reaches_main_thread:
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(5)

    began = time.monotonic()
    assert in_fork(work) == code
    assert time.monotonic() - began < 4
    assert (tmp_path / "requeued").read_text() == "stopped"


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [("raise SystemExit(2)", 1, "failed"), ("import os; os.kill(os.getpid(), 15)", 143, "stopped")],
)
def test_process_does_not_wait_for_a_dead_one(tmp_path, monkeypatch, end, code, status):
    monkeypatch.setattr(stopping, "CHILD_SECONDS", 0.1)

    def work():
        with StopRequest().listening() as stop, stop.recorded_by((tmp_path / "end").write_text), stop.training():
            stop.watch([subprocess.Popen([sys.executable, "-S", "-c", end])])
            time.sleep(60)

    assert in_fork(work) == code
    assert (tmp_path / "end").read_text() == status


def test_error_ends_the_other_processes(monkeypatch):
    monkeypatch.setattr(stopping, "CHILD_SECONDS", 0.1)
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    stop = StopRequest()
    stop.watch([child])
    with pytest.raises(ValueError, match="full disk"), stop.training():
        raise ValueError("full disk")
    assert child.wait(timeout=5) == -signal.SIGKILL
