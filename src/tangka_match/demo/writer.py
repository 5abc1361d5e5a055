"""Writes the demo set when it is missing, with a progress bar, and refuses one that was written with other knobs."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tangka_match.demo.write import check_settings, write_demo_set
from tangka_match.errors import ConfigError, DataFormatError


@dataclass(frozen=True)
class DemoWriter:
    """The demo set with these knobs; see ``write_demo_set`` for what each one does.

    Args:
        seed: Seed of everything in the set.
        train: Training pairs.
        val: Validation pairs.
        test: Test pairs.
        noise: Standard deviation of the noise in each feature dimension.
        duplicate_share: Share of scenes that nearly copy another one.
        completeness: Share of a scene's concepts that its caption mentions.
        thumbnails: Whether to paint the pictures.

    Raises:
        ConfigError: If a knob is out of its range.
    """

    seed: int
    train: int
    val: int
    test: int
    noise: float
    duplicate_share: float
    completeness: float
    thumbnails: bool

    def __post_init__(self) -> None:
        sizes = {"train": self.train, "val": self.val, "test": self.test}
        knobs = {"noise": self.noise, "duplicate_share": self.duplicate_share, "completeness": self.completeness}
        try:
            check_settings(self.seed, sizes, knobs)
        except ConfigError as error:
            raise ConfigError(f"data.writer.{error}") from None

    def ensure(self, root: Path) -> None:
        """Write the set, unless it is there already, or another process is writing it: that one is then waited for.

        Args:
            root: Folder of the set.

        Raises:
            DataFormatError: If ``root`` holds a set with other knobs, or something else.
        """
        if not _holds_something(root):
            parent = root.absolute().parent
            try:
                parent.mkdir(parents=True, exist_ok=True)
                with FileLock(parent / f".{root.name}.lock"):
                    if not _holds_something(root):
                        self._write(root)
            except PermissionError as error:
                raise DataFormatError(
                    f"{error.filename}: cannot write the demo set here ({error.strerror}); set paths.data or data.root"
                ) from error
        self._check(root)

    def _write(self, root: Path) -> None:
        bar = Progress(
            TextColumn("writing {task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} scenes"),
            TimeRemainingColumn(),
        )
        with bar:
            task = bar.add_task(str(root), total=self.train + self.val + self.test)
            write_demo_set(
                root, **asdict(self), progress=lambda done, total: bar.update(task, completed=done, total=total)
            )

    def _check(self, root: Path) -> None:
        path = root / "README.json"
        if not path.is_file():
            raise DataFormatError(
                f"{root} is not empty and has no README.json, so it is no demo set: set data.root to another folder"
            )
        found = _settings_in(path)
        wanted = asdict(self)
        different = [
            f"{k} is {found.get(k)!r}, data.writer.{k}={wanted[k]!r}" for k in wanted if found.get(k) != wanted[k]
        ]
        if different:
            raise DataFormatError(
                f"{root} was written with other settings ({'; '.join(different)}): delete the folder, or set data.root "
                "to another one"
            )


def _holds_something(root: Path) -> bool:
    return root.is_dir() and any(root.iterdir())


def _settings_in(path: Path) -> dict[str, Any]:
    """What a demo set's ``README.json`` says it was written with."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # no JSON, or no UTF-8
        content = None
    settings = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise DataFormatError(
            f"{path} does not hold the settings of a demo set: set data.root to another folder, or delete this one if "
            "it is a damaged demo set"
        )
    return settings
