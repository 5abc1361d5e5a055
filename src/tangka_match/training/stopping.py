"""Stopping a run by SIGTERM: at a batch that all of its processes agree on, within 30 seconds.

Lightning's handler communicates with the other processes while these communicate about something else, and the run
hangs (Lightning issue 20825). Here the handler only records the signal. During training the processes exchange between
batches whether they received it; outside of training a process needs no other one and stops at once.

submitit installs a handler of the signal that Slurm sends before the time limit of a job. It would requeue the job and
end the process at once, within a step. Here the run is stopped as by SIGTERM, and the handler called after it.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

from pytorch_lightning.utilities.exceptions import SIGTERMException

logger = logging.getLogger(__name__)

TERMINATED = 128 + signal.SIGTERM
GRACE_SECONDS = 25.0
"""From the signal to the forced end of the process: after SIGTERM, Slurm and torchrun kill after 30 seconds."""
CONNECTION_SECONDS = 5.0
"""From the signal to the forced end while the processes still connect: nothing has been done yet."""
VALIDATION_SECONDS = 10.0
"""From the signal to the end of a validation that has not finished; ``last.ckpt`` is written after a validation."""
CHILD_SECONDS = 10.0
"""From the death of another process to the forced end of this one, which may wait for it without end."""
AGREEMENT_SECONDS = 2.0
"""Aimed time between two agreements: each of them waits for the device."""
MAX_BATCHES = 100
"""Upper bound of the batches between two agreements."""

_REQUEUING_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
_POLL_SECONDS = 0.2
_STOP_LISTENING = b"\0"


class StopRequest:
    """SIGTERM, or the signal before a time limit, as one run in one or several processes sees it.

    Attributes:
        received: Whether this process has got such a signal.
        agreed: Whether any process had got it at the last agreement.
        ends_validation: Whether the signal of any process was then older than ``VALIDATION_SECONDS``.
        is_connected: Whether the processes have found each other.
    """

    def __init__(self) -> None:
        self.received = self.agreed = self.ends_validation = self.is_connected = False
        self._received_at = 0.0
        self._is_training = False
        self._handlers: dict[int, Any] = {}
        self._requeue: Callable[[], object] = lambda: None
        self._children: Sequence[subprocess.Popen[bytes]] = ()
        self._end: Callable[[str], None] = lambda status: None
        self._batches, self._interval, self._last_agreement = 0, 1, time.monotonic()

    @contextmanager
    def listening(self) -> Iterator["StopRequest"]:
        """Handle SIGTERM within the block, and SIGUSR1 and SIGUSR2 if they have a handler, which is called after it.

        Only the main thread of a process can handle signals.

        Raises:
            SIGTERMException: On such a signal outside of `training`.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        # Python runs its handlers between two instructions of the main thread, which may be waiting for another
        # process within one; the system writes the number of the signal to this socket at once.
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        handled = [signal.SIGTERM, *(number for number in _REQUEUING_SIGNALS if callable(signal.getsignal(number)))]
        self._handlers = {number: signal.getsignal(number) for number in handled}
        for number in self._handlers:
            signal.signal(number, self._receive)
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        watch = threading.Thread(target=self._watch, args=(reader,), daemon=True, name="stop-watch")
        watch.start()
        try:
            yield self
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(descriptor)
            writer.send(_STOP_LISTENING)
            watch.join()
            reader.close()
            writer.close()
            self._requeue()

    @contextmanager
    def recorded_by(self, end: Callable[[str], None]) -> Iterator[None]:
        """Call ``end`` with the status of the run if the process is forced to end within the block."""
        self._end = end
        try:
            yield
        finally:
            self._end = lambda status: None

    @contextmanager
    def training(self) -> Iterator[None]:
        """Only record SIGTERM within the block, where all processes stop together by `agree`.

        After an error the processes that this one has started are ended.

        Raises:
            SIGTERMException: If the signal came too late for an agreement.
        """
        self._is_training = True
        try:
            yield
        except BaseException:
            self._is_training = False
            _end_processes(self._children)
            raise
        self._is_training = False
        if self.received:
            raise SIGTERMException(TERMINATED)

    def watch(self, children: Sequence["subprocess.Popen[bytes]"]) -> None:
        """End this process if one of those that it has started ends in `training`."""
        self._children = children

    def agree(self, maximum: Callable[[list[float]], list[float]], *, now: bool = False) -> None:
        """Exchange whether any process received SIGTERM, every n calls: about ``AGREEMENT_SECONDS`` apart.

        Args:
            maximum: Takes the maximum of each value over all processes.
            now: Whether to do it in this call. All processes must agree in the same calls.
        """
        self._batches += 1
        if self._batches < self._interval and not now:
            return
        time_of_agreement = time.monotonic()
        waited = self.received and time_of_agreement - self._received_at > VALIDATION_SECONDS
        pace = (time_of_agreement - self._last_agreement) / self._batches
        agreed, ends_validation, slowest = maximum([float(self.received), float(waited), pace])
        self.agreed, self.ends_validation = agreed > 0, ends_validation > 0
        self._interval = max(1, min(int(AGREEMENT_SECONDS / max(slowest, 1e-6)), MAX_BATCHES))
        self._batches, self._last_agreement = 0, time_of_agreement

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._note_handler(number)
        if self.received or self.agreed:
            return  # the run is being ended already
        self.received, self._received_at = True, time.monotonic()
        if not self._is_training:
            raise SIGTERMException(TERMINATED)

    def _note_handler(self, number: int) -> None:
        if number != signal.SIGTERM:
            self._requeue = partial(self._handlers[number], number, None)

    def _watch(self, reader: socket.socket) -> None:
        """End the process if it has not ended in time after one of the signals, or after the death of a child."""
        requested, lost, status = float("inf"), float("inf"), "stopped"
        while True:
            ready, _, _ = select.select([reader], [], [], _POLL_SECONDS)
            numbers, now = reader.recv(1024) if ready else b"", time.monotonic()
            if _STOP_LISTENING in numbers:
                return
            for number in self._handlers.keys() & set(numbers):
                requested = min(requested, now)
                self._note_handler(number)  # the main thread may never come to it
            codes = [child.poll() for child in self._children] if self._is_training else []
            if any(codes) and now < lost:
                lost = now
                stopped = self.received or any(code in (TERMINATED, -signal.SIGTERM) for code in codes)
                status = "stopped" if stopped else "failed"
            waits_for_others = self._is_training and not self.is_connected
            grace = CONNECTION_SECONDS if waits_for_others else GRACE_SECONDS
            if now > requested + grace or (self._is_training and now > lost + CHILD_SECONDS):
                self._force(status)

    def _force(self, status: str) -> None:
        logger.warning(
            "the processes of the run have not ended together in time; this one ends now, and what was done since "
            "last.ckpt is repeated on resume"
        )
        for child in self._children:
            child.kill()
        self._end(status)
        code: object = TERMINATED if status == "stopped" else 1
        try:
            self._requeue()
        except SystemExit as end:  # submitit's executor on one machine requeues by this code
            code = end.code
        except Exception as error:
            logger.warning("the job is not requeued: %s", error)
        os._exit(code if isinstance(code, int) else 1)


def _end_processes(children: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Wait for processes that are ending, and kill the others."""
    deadline = time.monotonic() + CHILD_SECONDS / 2
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(deadline - time.monotonic(), 0.0))
        child.kill()
