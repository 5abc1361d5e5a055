"""Jobs in parallel: one process per job, with its output in a file, and all processes ended with the pool."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import rich
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from tangka_match.config.hydra_options import config_options
from tangka_match.errors import ConfigError, TrainingError
from tangka_match.sweeps.gpus import STOPPING, GpuSlots, visible_gpus

GRACE_SECONDS = 30.0
PARENT_VARIABLE = "TANGKA_MATCH_PARENT"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
TERMINATED = 128 + signal.SIGTERM
SWEEP_OPTIONS = ("hydra/sweeper", "hydra.sweeper", "hydra/launcher", "hydra.launcher", "hydra.sweep", "hydra.mode")
"""Prefixes of the Hydra overrides that make a command a sweep."""

TAIL_BYTES = 20_000
ERROR_LINE = re.compile(r"^(?:\w+\.)*\w+(?:Error|Exception)\b", re.MULTILINE)
"""First line of a message of ours, or last line of a traceback."""


class ProcessPool:
    """Runs Python processes for its callers, and can end them all.

    Args:
        threads: CPU threads per process.
        gpu_slots: GPU slots to lease from; ``None`` leaves the choice of device to the process.
    """

    def __init__(self, threads: int, gpu_slots: GpuSlots | None) -> None:
        self._threads, self._gpu_slots = threads, gpu_slots
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._closed = threading.Event()

    def run(self, words: Sequence[str], output: Path) -> int:
        """Run ``python <words>`` and return its exit code.

        Args:
            words: Command line without the interpreter.
            output: File to which the output is appended.

        Raises:
            TrainingError: If `end_all` was called.
        """
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
        environment |= dict.fromkeys(THREAD_VARIABLES, str(self._threads))
        lease = self._gpu_slots.lease(self._closed) if self._gpu_slots is not None else None
        inherited: tuple[int, ...] = ()
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            if lease is not None:
                environment["CUDA_VISIBLE_DEVICES"] = lease.gpu
                inherited = (lease.file.fileno(),)  # so that the slot is taken until the process ends
            with output.open("ab") as file, self._guard:
                if self._closed.is_set():
                    raise TrainingError(STOPPING)
                process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                    [sys.executable, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,  # Ctrl-C reaches this process alone, and it ends the others
                    pass_fds=inherited,
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
        """Ask every process to write its last checkpoint and stop; kill those that have not after `GRACE_SECONDS`."""
        with self._guard:
            self._closed.set()
            running = list(self._running)
        for process in running:
            process.terminate()  # but not its data-loader workers, which it needs to stop cleanly
        for process in running:
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)


def _signal_group(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Send a signal to a process and its data-loader workers."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def end_with_parent() -> None:
    """Let the system send SIGTERM to this process when the pool that started it ends (Linux only)."""
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if parent is None or sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - only jobs of a pool need it

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if os.getppid() != int(parent):  # the pool ended before the call
        os.kill(os.getpid(), signal.SIGTERM)


class LocalPool:
    """Runs the jobs of a sweep as processes of this machine.

    Args:
        config: Config of the multirun command.
        processes: Jobs at a time; ``None`` for one per GPU slot, or half the number of cores without a GPU.
        gpus: Indices of the GPUs to use; ``None`` for all.
        trials_per_gpu: Jobs that share a GPU.

    Raises:
        ConfigError: If a number is out of range, or a GPU does not exist.
    """

    def __init__(
        self, config: DictConfig, *, processes: int | None, gpus: Sequence[int] | None, trials_per_gpu: int
    ) -> None:
        if processes is not None and processes < 1:
            raise ConfigError(f"hydra.launcher.processes={processes} must be >= 1, or null")
        accelerator = config.trainer.accelerator
        names = [] if accelerator == "cpu" and gpus is None else visible_gpus(gpus)
        gpu_slots = GpuSlots(names, trials_per_gpu) if names else None
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.slots = processes or (len(gpu_slots) if gpu_slots is not None else max(1, cores // 2))
        self._pool = ProcessPool(threads=max(1, cores // self.slots), gpu_slots=gpu_slots)
        self._hydra = list(config.hydra.overrides.hydra)
        self._config_options = config_options(sys.argv[1:])

    def run_all(self, jobs: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Run jobs, ``slots`` at a time; Ctrl-C and SIGTERM end the jobs before this process."""
        if threading.current_thread() is not threading.main_thread():  # a study handles signals in its main thread
            return [self._run(job) for job in jobs]
        with ThreadPoolExecutor(self.slots) as threads, _sigterm_raises():
            futures = [threads.submit(self._run, job) for job in jobs]
            try:
                return [future.result() for future in futures]
            except BaseException:
                for future in futures:
                    future.cancel()
                self.end_all()
                raise

    def end_all(self) -> None:
        """Ask every job to stop, and wait for it."""
        self._pool.end_all()

    def _run(self, overrides: Sequence[str]) -> JobReturn:
        given = dict(override.partition("=")[::2] for override in overrides)
        number = given["sweep.job"]
        folder = Path(given["sweep.folder"].strip("'").replace("\\'", "'"))
        words = ["-m", "tangka_match.train", *self._config_options, *_single_run_overrides([*self._hydra, *overrides])]
        began = time.monotonic()
        rich.print(f"job {number} started")
        output = folder / "jobs" / number / "output.log"
        written = output.stat().st_size if output.exists() else 0
        code = self._pool.run(words, output)
        rich.print(f"job {number} ended with {code} after {time.monotonic() - began:.0f} s")
        ended = JobReturn(overrides=list(overrides))
        ended.status = JobStatus.COMPLETED
        # A negative code is a signal that killed the process, whatever it had printed before.
        error = last_error(output, written) if code > 0 else None
        ended.return_value = f"exit code {code}" if error is None else TrainingError(error)
        return ended


def last_error(output: Path, begin: int) -> str | None:
    """Return the last error message that a process printed, or ``None``.

    Args:
        output: File with the output of the process.
        begin: Offset of its first byte.
    """
    with output.open("rb") as file:
        file.seek(max(begin, output.stat().st_size - TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    found = list(ERROR_LINE.finditer(text))
    return " ".join(text[found[-1].start() :].split()) if found else None


def _single_run_overrides(overrides: Sequence[str]) -> list[str]:
    """Return overrides without those that make the command a sweep."""
    return [override for override in overrides if not override.startswith(SWEEP_OPTIONS)]


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Raise SystemExit on SIGTERM, so that the jobs are ended before this process."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
