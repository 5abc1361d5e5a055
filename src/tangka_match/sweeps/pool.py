"""Jobs in parallel: one process per job, its output in a file, and none left behind."""

import os
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
from typing import Any

import rich
import torch
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from tangka_match.errors import ConfigError, TrainingError
from tangka_match.sweeps.locks import GpuPlaces, visible_gpus

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


TERMINATED = 128 + signal.SIGTERM


class SideBySide:
    """Runs jobs as processes.

    Args:
        config: Of the multirun command.
        processes: Jobs at a time; ``None`` takes one a place on a GPU, or half the cores where there is none.
        gpus: Indices of those to use; ``None`` takes every one.
        trials_per_gpu: Jobs that share a GPU.

    Raises:
        ConfigError: If a number is out of range, or a GPU is asked for that is not there.
    """

    def __init__(
        self, config: DictConfig, *, processes: int | None, gpus: Sequence[int] | None, trials_per_gpu: int
    ) -> None:
        if processes is not None and processes < 1:
            raise ConfigError(f"hydra.launcher.processes={processes}; allowed: 1 and more, or null")
        accelerator = config.trainer.accelerator
        names = [] if accelerator == "cpu" and gpus is None else visible_gpus(gpus, torch.cuda.device_count())
        places = GpuPlaces(names, trials_per_gpu) if names else None
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.slots = processes or (len(places) if places is not None else max(1, cores // 2))
        self._pool = ProcessPool(threads=max(1, cores // self.slots), places=places)
        self._hydra = OmegaConf.to_container(config.hydra.overrides.hydra)
        self._config_dir = _config_dir()

    def run_all(self, jobs: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Run jobs, ``slots`` at a time; Ctrl-C or SIGTERM ends every one of them first."""
        if threading.current_thread() is not threading.main_thread():  # of a study, whose main thread listens
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
        words = ["-m", "tangka_match.train", *self._config_dir, *_single_run(self._hydra), *overrides]
        began = time.monotonic()
        rich.print(f"job {number} started")
        code = self._pool.run(words, folder / "jobs" / number / "output.log")
        rich.print(f"job {number} ended with {code} after {time.monotonic() - began:.0f} s")
        ended = JobReturn(overrides=list(overrides))
        ended.status = JobStatus.COMPLETED
        ended.return_value = f"exit code {code}"
        return ended


def _single_run(hydra: Any) -> list[str]:
    """What the command says of Hydra itself, but for what makes it a sweep."""
    of_sweeps = ("hydra/sweeper", "hydra.sweeper", "hydra/launcher", "hydra.launcher", "hydra.sweep", "hydra.mode")
    return [override for override in hydra if not override.startswith(of_sweeps)]


def _config_dir() -> list[str]:
    """The words of the command that name a folder of configs."""
    words = sys.argv[1:]
    found: list[str] = []
    for position, word in enumerate(words):
        if word in ("--config-dir", "-cd", "--config-name", "-cn") and position + 1 < len(words):
            found += [word, words[position + 1]]
        elif word.startswith(("--config-dir=", "--config-name=")):
            found.append(word)
    return found


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """SIGTERM as an exception, so that the jobs are ended before this process is."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
