"""Writer of the demo set for the data module: writes a missing set, and checks the settings of an existing one."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tangka_match.demo.write import check_settings, write_demo_set
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.records.saved_files import read_mapping


@dataclass(frozen=True)
class DemoWriter:
    """Writer of the demo set; see ``write_demo_set`` for the settings.

    Args:
        seed: Seed of the set.
        train: Number of training pairs.
        val: Number of validation pairs.
        test: Number of test pairs.
        noise: Standard deviation of the noise in each feature dimension.
        duplicate_share: Share of scenes that are near copies of another one.
        completeness: Intended share of the concepts of a scene that its caption mentions.
        thumbnails: Whether to paint the thumbnails.

    Raises:
        ConfigError: If a setting is out of range.
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
        settings = {"noise": self.noise, "duplicate_share": self.duplicate_share, "completeness": self.completeness}
        try:
            check_settings(self.seed, sizes, settings)
        except ConfigError as error:
            raise ConfigError(f"data.writer.{error}") from None

    def ensure(self, root: Path) -> None:
        """Write the set if it is missing, or wait for another process that is writing it.

        Args:
            root: Folder of the set.

        Raises:
            DataFormatError: If ``root`` contains a set with other settings, or other files.
        """
        if not _is_filled(root):
            parent = root.absolute().parent
            try:
                parent.mkdir(parents=True, exist_ok=True)
                with FileLock(parent / f".{root.name}.lock"):
                    if not _is_filled(root):
                        self._write(root)
            except OSError as error:
                raise DataFormatError(
                    f"{root}: cannot write the demo set here ({error}); free space there, or set paths.data or "
                    "data.root to a place on another disk that you may write to."
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
                f"{root} is not empty and has no README.json, so it is not a demo set; set data.root to another folder."
            )
        found = _settings_in(path)
        wanted = asdict(self)
        different = [
            f"{k} is {found.get(k)!r}, data.writer.{k}={wanted[k]!r}" for k in wanted if found.get(k) != wanted[k]
        ]
        if different:
            raise DataFormatError(
                f"{root} was written with other settings ({'; '.join(different)}); delete the folder, or set data.root "
                "to another one."
            )


def _is_filled(root: Path) -> bool:
    return root.is_dir() and any(root.iterdir())


def _settings_in(path: Path) -> dict[str, Any]:
    """Read the settings of a demo set from its ``README.json``."""
    try:
        settings = read_mapping(path).get("settings")
        reason = "no mapping 'settings'"
    except DataFormatError as error:
        settings, reason = None, str(error)
    if not isinstance(settings, dict):
        raise DataFormatError(
            f"{path} does not contain the settings of a demo set ({reason}); set data.root to another folder, or "
            "delete this one if it is a damaged demo set."
        )
    return settings
