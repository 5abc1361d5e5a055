"""What a run needs said about the machine and the code it ran on."""

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
    """Which code runs: two runs have the same if both are equal.

    A commit alone does not say it: two changed checkouts share theirs, and an installed wheel has none.

    Args:
        commit: Without a mark for changed files; ``None`` in a wheel.
        sources: Hash of the package's files.
    """

    commit: str | None
    sources: str


def describe_environment() -> dict[str, Any]:
    """Command line, commit, versions and hardware, as plain values."""
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
    """Which code a command runs, of ``describe_environment``: the commit, the hash of the sources, the command line."""
    environment = describe_environment()
    return {name: environment[name] for name in ("git_commit", "sources", "command")}


def describe_machine() -> dict[str, Any]:
    """Processor, cores, and GPUs."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def git_commit() -> str | None:
    """The commit of the checkout that the code is imported from, ``+dirty`` when files differ; ``None`` in a wheel."""
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # no git here, or not a checkout
        return None
    return (commit + (DIRTY if dirty else "")) if tracked else None


@functools.cache
def source_hash() -> str:
    """Short hash of the package's code and word lists as they are on disk when this process first asks."""
    package = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".txt")):
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def code_version() -> CodeVersion:
    """Of the code that this process runs."""
    return known_version(git_commit(), source_hash())


def known_version(commit: str | None, sources: str) -> CodeVersion:
    """From what a ledger notes.

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
