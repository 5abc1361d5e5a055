"""Copy ``tests/fixtures/runs_0_1``, the files of version 0.1, as if version 0.1 had written them to the new folder.

In the fixture, ``@ROOT@`` replaces the absolute path of the folder. In version 0.1, the id of a run and the manifest of
a sweep contain a hash of the settings, which include the absolute path of the data. Both hashes therefore depend on the
folder, and are computed here by the rules of version 0.1. Paths in checkpoints are not changed.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import yaml

FIXTURE = Path(__file__).parents[1] / "fixtures" / "runs_0_1"
TEXTS = (".yaml", ".json", ".jsonl", ".csv", ".log")
NOT_DECISIVE = ("paths", "logger", "resume", "debug", "tags")


def expected() -> dict[str, Any]:
    """Return the results of version 0.1, and the commands that produced them."""
    return json.loads((FIXTURE / "expected.json").read_text("utf-8"))


def plant(root: Path, data: Path) -> None:
    """Copy the fixture to ``root``, with ``data`` as a symbolic link to the given folder."""
    shutil.copytree(FIXTURE, root, ignore=shutil.ignore_patterns("*.py", "README.md", "expected.json"))
    (root / "data").symlink_to(data, target_is_directory=True)
    _replace(root, {"@ROOT@": str(root)})
    renamed = {run.parent.name: _run_id(run) for run in sorted((root / "runs").glob("*/config.yaml"))}
    hashes = {f'"config_hash": "{_hash(old)}"': f'"config_hash": "{_hash(new)}"' for old, new in renamed.items()}
    for folder in [*(root / "runs").iterdir(), *(root / "checkpoints").glob("*/*")]:
        if folder.name in renamed:
            folder.rename(folder.with_name(renamed[folder.name]))
    _replace(root, renamed | hashes)
    for manifest in (root / "runs" / "sweeps").glob("*/manifest.jsonl"):
        _set_digest(manifest)


def run_of(root: Path, name: str) -> Path:
    """Return the only run folder of an experiment."""
    (folder,) = (root / "checkpoints" / name).iterdir()
    return root / "runs" / folder.name


def _replace(root: Path, changes: dict[str, str]) -> None:
    for path in root.rglob("*"):
        if path.suffix in TEXTS and path.is_file():
            text = path.read_text("utf-8")
            for old, new in changes.items():
                text = text.replace(old, new)
            path.write_text(text, encoding="utf-8")


def _hash(run_id: str) -> str:
    return run_id.split("-")[2]


def _run_id(config: Path) -> str:
    """Return the id of a run with the hash of its current settings."""
    settings = yaml.safe_load(config.read_text("utf-8"))
    decisive = {key: value for key, value in settings.items() if key not in NOT_DECISIVE}
    text = json.dumps(decisive, sort_keys=True, ensure_ascii=False)
    day, clock, _, digits = config.parent.name.split("-")
    return f"{day}-{clock}-{hashlib.sha256(text.encode()).hexdigest()[:6]}-{digits}"


def _set_digest(manifest: Path) -> None:
    first, *others = manifest.read_text("utf-8").splitlines()
    header = json.loads(first)
    text = json.dumps(header["identity"], sort_keys=True, ensure_ascii=False)
    header["digest"] = hashlib.sha256(text.encode()).hexdigest()
    lines = [json.dumps(header, ensure_ascii=False), *others]
    manifest.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
