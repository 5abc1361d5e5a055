"""The processes of a run: how Lightning starts the others, what it does on SIGTERM, and the port where they meet."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.distributed import _set_num_threads_if_needed
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from tangka_match.errors import ConfigError
from tangka_match.training.distributed import is_main_process, launcher
from tangka_match.training.settings import TrainerSettings
from tangka_match.training.stopping import StopRequest

PORT_VARIABLE = "MASTER_PORT"


def connect(trainer: pl.Trainer, stop: StopRequest) -> None:
    """Let a trainer stop as ``stop`` requests, instead of by Lightning's own handling of signals and of lost processes.

    Lightning has no public way to replace them; 2.6 is required for what is replaced here.

    Args:
        trainer: Trainer of the run, not started yet.
        stop: Request to stop of this process.
    """
    signals: Any = _AgreedSignals(trainer, stop)
    trainer._signal_connector = signals
    # It would tell all processes at every batch what rank 0 has received, and wait for the device.
    trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
    strategy: Any = trainer.strategy
    if isinstance(strategy.launcher, _SubprocessScriptLauncher):
        old = strategy.launcher
        strategy._launcher = _WatchedLauncher(old.cluster_environment, old.num_processes, old.num_nodes, stop)


def check_main_port(settings: TrainerSettings) -> None:
    """Check that the port at which the processes of a run meet is free, before any of them is started.

    Args:
        settings: Settings of the trainer.

    Raises:
        ConfigError: If another program has it.
    """
    given, started_by = os.environ.get(PORT_VARIABLE), launcher()
    is_single = settings.devices == 1 and settings.num_nodes == 1
    if is_single or started_by == "torchrun" or not is_main_process() or os.environ.get("NODE_RANK", "0") != "0":
        return  # torchrun itself listens at the port
    if given is None and started_by is None:
        return  # Lightning chooses a free one
    if given is not None and not given.isdecimal():
        raise ConfigError(f"{PORT_VARIABLE}={given!r} must be the number of a port; unset it, or choose a free port")
    port = SLURMEnvironment().main_port if given is None else int(given)
    with _open_socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"{PORT_VARIABLE}={port}: the processes of the run cannot meet at this port ({error}), probably "
                f"because another run has it: set {PORT_VARIABLE} to a free port"
                + ("" if started_by else ", or unset it, and a free one is chosen")
            ) from error


def _open_socket() -> socket.socket:
    """Open a socket of IPv6, which torch prefers, or of IPv4 if the machine lacks the other."""
    with suppress(OSError):  # ``socket.has_ipv6`` tells only what Python was built with
        return socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


class _WatchedLauncher(_SubprocessScriptLauncher):
    """Lightning's launcher, but a process that has died ends the run through its ``StopRequest``.

    Lightning's kills the main process within five seconds, even while it records the end of a stopped run.
    """

    def __init__(self, environment: Any, num_processes: int, num_nodes: int, stop: StopRequest) -> None:
        super().__init__(environment, num_processes, num_nodes)
        self._stop = stop

    def launch(self, function: Callable[..., Any], *args: Any, trainer: pl.Trainer | None = None, **kwargs: Any) -> Any:
        """Start the other processes, unless ``srun`` or ``torchrun`` has, and call ``function``."""
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            self._call_children_scripts()
            self._stop.watch(self.procs)
        _set_num_threads_if_needed(num_processes=self.num_processes)
        return function(*args, **kwargs)


class _AgreedSignals:
    """Stands in for Lightning's handling of signals: reports SIGTERM when all processes know of it."""

    def __init__(self, trainer: pl.Trainer, stop: StopRequest) -> None:
        self._trainer, self._stop = trainer, stop

    @property
    def received_sigterm(self) -> bool:
        """Whether a loop stops at the end of its batch."""
        return self._stop.ends_validation if self._trainer.validating else self._stop.agreed

    def register_signal_handlers(self) -> None:
        """Keep the handler of `StopRequest`."""

    def teardown(self) -> None:
        """Keep the handler of `StopRequest`, too."""
