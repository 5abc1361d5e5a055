"""Description of the machine and the code that a run uses."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch

PACKAGES = (
    "tangka-match", "torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "jieba", "rjieba", "wandb",
    "numpy",
)  # fmt: skip
DIRTY = "+dirty"


class CodeVersion(NamedTuple):
    """Version of the code; two runs used the same code if both fields are equal.

    The commit alone is not enough: checkouts with different changes share it, and an installed wheel has none.

    Attributes:
        commit: Git commit without the mark of a changed checkout; ``None`` in a wheel.
        sources: Hash of the package's files.
    """

    commit: str | None
    sources: str


def describe_environment() -> dict[str, Any]:
    """Return command line, commit, package versions and hardware as plain values."""
    return {
        "command": shlex.join([sys.executable, *sys.orig_argv[1:]]),
        "working_directory": str(Path.cwd()),
        "git_commit": git_commit(),
        "sources": source_hash(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "machine": describe_machine(),
    }


def code_origin() -> dict[str, Any]:
    """Return commit, hash of the sources and command line, as in `describe_environment`."""
    environment = describe_environment()
    return {name: environment[name] for name in ("git_commit", "sources", "command")}


def describe_machine() -> dict[str, Any]:
    """Return operating system, processor, cores, threads and GPUs."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def git_commit() -> str | None:
    """Return the commit of the imported checkout, with ``+dirty`` if files were changed; ``None`` in a wheel."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # git is missing, or this is not a checkout
        return None
    return (commit + (DIRTY if dirty else "")) if tracked else None


@functools.cache
def source_hash() -> str:
    """Return a short hash of the package's code and word lists, as they were on disk at the first call."""
    package = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".txt")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def code_version() -> CodeVersion:
    """Return the version of the running code."""
    return known_version(git_commit(), source_hash())


def known_version(commit: str | None, sources: str) -> CodeVersion:
    """Return the version of the code from the fields of a ledger.

    >>> known_version("3fa9c1+dirty", "08c1")
    CodeVersion(commit='3fa9c1', sources='08c1')
    """
    return CodeVersion(commit and commit.removesuffix(DIRTY), sources)


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=True)  # noqa: S603, S607
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
