"""Reads the files of offline W&B runs without wandb's private reader.

A ``.wandb`` file is a header, then records cut into blocks of 32 KiB as LevelDB's log does: a piece is a CRC-32, a
length, a kind (whole, first, middle, last) and the bytes. Each record is a protobuf message.
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
    """Artifact to be uploaded; ``files`` maps the name in the artifact to the local file."""

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

    W&B's service may still be writing when ``finish`` returns, one time in twenty; to end the service waits for it.
    """
    wandb.teardown()
    return [read_offline_run(path) for path in sorted(folder.glob("**/*.wandb"))]


def read_offline_run(path: Path) -> OfflineRun:
    """Read one ``.wandb`` file."""
    run = OfflineRun()
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            said = record.run
            run.run_id, run.name, run.project = said.run_id, said.display_name, said.project
            run.group, run.job_type, run.tags = said.run_group, said.job_type, list(said.tags)
            run.config |= _values(said.config.update)
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


def _artifact(said: Any) -> OfflineArtifact:
    files = {entry.path: Path(entry.local_path) for entry in said.manifest.contents}
    metadata = json.loads(said.metadata or "{}")
    return OfflineArtifact(said.name, said.type, list(said.aliases), metadata, files)


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
