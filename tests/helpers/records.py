"""Records of runs made of folders that the test wrote."""

from pathlib import Path

from tangka_match.records.run_record import RunRecord, read_records


def record_of(folder: Path) -> RunRecord:
    """What a list or a report would know of this run folder."""
    (record,) = read_records([folder])
    return record
