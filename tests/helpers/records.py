"""Records of runs made of folders that the test wrote."""

from pathlib import Path

from tangka_match.analysis.runs.record import RunRecord, make_record
from tangka_match.training.records.run_files import read_run_files


def record_of(folder: Path) -> RunRecord:
    """What a list or a report would know of this run folder."""
    files = read_run_files(folder)
    return make_record(
        folder,
        files.events,
        files.config,
        files.result,
        files.environment,
        held=files.held,
        has_ranks=files.has_ranks,
        skipped=files.skipped,
        problems=files.problems,
    )
