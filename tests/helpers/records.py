"""Records of run folders that a test wrote."""

from pathlib import Path

from tangka_match.records.run_record import RunRecord, read_records


def record_of(folder: Path) -> RunRecord:
    """Return the record of a run folder."""
    (record,) = read_records([folder])
    return record
