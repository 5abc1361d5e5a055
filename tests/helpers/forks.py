"""Run a function in a fork of the test process, for code that ends its process."""

import os
from collections.abc import Callable


def in_fork(work: Callable[[], object]) -> int:
    """Call ``work`` in a fork of this process; return its exit code, 0 unless ``work`` ends the process itself."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
