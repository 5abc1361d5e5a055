"""Optuna's journal as a file that survives kills, a full disk and many writers."""

import fcntl
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from tangka_match.sweeps.manifest import append_line, parse_line


class JournalFile(BaseJournalBackend):
    """A JSON object a line, under the system's file lock, which ends with the process that holds it.

    Optuna's own file backend refuses a journal with a damaged line, and its lock is a file that a killed process leaves
    behind. Here a damaged line is skipped and counted.

    Args:
        path: Of the journal; made when missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.corrupt = 0
        self._read: list[dict[str, Any]] = []
        self._offset = 0
        path.touch()

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Logs from that number on; what was read before is not read again."""
        with self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            file.seek(self._offset)
            fresh = file.read()
        # A last line without an end is a torn one; the next writer closes it, and it is counted then.
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            log = parse_line(line)
            if log is None or "op_code" not in log:
                self.corrupt += 1
            else:
                self._read.append(log)
        return self._read[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append all of them together."""
        append_line(self.path, "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs))
