"""Read the files of offline W&B runs without wandb's private reader.

A ``.wandb`` file has the format of LevelDB's log: a file header, then blocks of 32 KiB. A block holds parts of records,
each with a CRC-32, a length, a kind (whole, first, middle, last) and data. A record is a protobuf message.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wandb
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, FILE_HEADER, PIECE_HEADER = 32 * 1024, struct.Struct("<4sHB"), struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineArtifact:
    """Artifact of a run; ``files`` maps names in the artifact to local files."""

    name: str
    kind: str
    aliases: list[str]
    metadata: dict[str, Any]
    files: dict[str, Path]


@dataclass
class OfflineRun:
    """Content of a run's file; ``exit_code`` is ``None`` if the run has not ended."""

    run_id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    job_type: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[OfflineArtifact] = field(default_factory=list)
    exit_code: int | None = None


def find_offline_runs(folder: Path) -> list[OfflineRun]:
    """Read every run under a folder, in the order of their paths.

    In about one of twenty runs, the W&B service is still writing when ``finish`` returns; ``teardown`` waits for it.
    """
    wandb.teardown()
    return [read_offline_run(path) for path in sorted(folder.glob("**/*.wandb"))]


def read_offline_run(path: Path) -> OfflineRun:
    """Read one ``.wandb`` file."""
    run = OfflineRun()
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            logged = record.run
            run.run_id, run.name, run.project = logged.run_id, logged.display_name, logged.project
            run.group, run.job_type, run.tags = logged.run_group, logged.job_type, list(logged.tags)
            run.config |= _values(logged.config.update)
        elif kind == "config":
            run.config |= _values(record.config.update)
        elif kind == "history":
            run.history.append(_values(record.history.item))
        elif kind == "summary":
            run.summary |= _values(record.summary.update)
        elif kind == "artifact":
            run.artifacts.append(_artifact(record.artifact))
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    run.config.pop("_wandb", None)
    return run


def _artifact(artifact: Any) -> OfflineArtifact:
    files = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
    metadata = json.loads(artifact.metadata or "{}")
    return OfflineArtifact(artifact.name, artifact.type, list(artifact.aliases), metadata, files)


def _values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _records(content: bytes) -> Iterator[Record]:
    assert content[:4] == b":W&B", f"not a W&B file: {content[:8]!r}"
    parts = b""
    for kind, data in _pieces(content):
        parts = data if kind in (WHOLE, FIRST) else parts + data
        if kind in (WHOLE, LAST):
            yield Record.FromString(parts)


def _pieces(content: bytes) -> Iterator[tuple[int, bytes]]:
    place = FILE_HEADER.size
    while place + PIECE_HEADER.size <= len(content):
        if BLOCK - place % BLOCK < PIECE_HEADER.size:  # a header never crosses the end of a block
            place += BLOCK - place % BLOCK
            continue
        checksum, length, kind = PIECE_HEADER.unpack_from(content, place)
        data = content[place + PIECE_HEADER.size :][:length]
        if len(data) < length:  # the writer was killed
            return
        assert zlib.crc32(bytes([kind]) + data) == checksum, f"damaged at byte {place}"
        yield kind, data
        place += PIECE_HEADER.size + length
