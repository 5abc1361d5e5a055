"""Jobs side by side: one process each, its output in a file, and none left behind."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tangka_match.errors import TrainingError
from tangka_match.sweeps.gpu_lease import GpuPlaces

GRACE_SECONDS = 30.0
PARENT_VARIABLE = "TANGKA_MATCH_PARENT"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class ProcessPool:
    """Starts processes of this Python, at most as many as there are callers, and can end them all.

    Args:
        threads: CPU threads of each process.
        places: On GPUs; ``None`` leaves the choice of device to the process.
    """

    def __init__(self, threads: int, places: GpuPlaces | None) -> None:
        self._threads, self._places = threads, places
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._closed = False

    def run(self, words: Sequence[str], output: Path) -> int:
        """Run ``python <words>`` to its end, and return its exit code.

        Args:
            words: Of the command line, after the interpreter.
            output: File that everything printed is appended to.

        Raises:
            TrainingError: After `end_all`.
        """
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(self._threads))
        lease = self._places.lease() if self._places is not None else None
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            if lease is not None:
                environment["CUDA_VISIBLE_DEVICES"] = lease.gpu
            with output.open("ab") as file, self._guard:
                if self._closed:
                    raise TrainingError("the sweep is being stopped: no further job is started")
                process = subprocess.Popen(  # noqa: S603 (our own interpreter and words, no shell)
                    [sys.executable, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,  # Ctrl-C in the terminal reaches this process alone, which ends the others
                    pass_fds=() if lease is None else (lease.file.fileno(),),  # the place is held as long as it lives
                )
                self._running.add(process)
        finally:
            if lease is not None:
                lease.file.close()
        try:
            return process.wait()
        finally:
            with self._guard:
                self._running.discard(process)

    def end_all(self) -> None:
        """Ask every process to stop, which writes its last checkpoint; kill what is left after half a minute."""
        with self._guard:
            self._closed = True
            running = list(self._running)
        for process in running:
            process.terminate()  # not its readers: without them it could not end in order
        for process in running:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """To the process and the readers that it has started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def end_with_parent() -> None:
    """Let the system send SIGTERM to this process, if a pool has started it, when the pool's process dies."""
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is None or sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 (needed by pool jobs alone)

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != int(parent):  # it has died in between
        os.kill(os.getpid(), signal.SIGTERM)
