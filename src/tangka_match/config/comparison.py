"""From a composed config to a comparison of two models, or of two recipes of several seeds."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import rich
from omegaconf import DictConfig
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tangka_match.analysis.comparison import better, comparison_table, in_one_order, verdict
from tangka_match.analysis.significance import Difference, compare_ranks
from tangka_match.config.command_settings import check_settings
from tangka_match.errors import ConfigError
from tangka_match.metric_names import PRIMARY_METRIC
from tangka_match.records.run_folder import find_run
from tangka_match.retrieval.evaluation_files import read_ranks_table


def _as_names(value: Any) -> Any:
    """A run id that is all digits arrives as a number."""
    return [str(item) for item in (value if isinstance(value, list) else [value])]


Side = Annotated[list[str], BeforeValidator(_as_names), Field(min_length=1)]


class ComparisonSettings(BaseModel):
    """Settings of a comparison; ``conf/compare.yaml`` says what each one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    a: Side
    b: Side
    out: Path | None
    resamples: int
    seed: Annotated[int, Field(ge=0)]


def compare(config: DictConfig) -> dict[str, Difference]:
    """Compare what ``config`` says, print the table and the verdict, and write them if asked to.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    settings = check_settings(config, ComparisonSettings, beside=("paths", "debug"))
    if settings.out is not None and settings.out.exists():
        raise ConfigError(f"out={settings.out} exists, and nothing is overwritten: give another file")
    runs = Path(config.paths.runs)
    a, b = _tables("a", settings.a, runs), _tables("b", settings.b, runs)
    ranks, caption_to_image = in_one_order({path: read_ranks_table(path) for path in dict.fromkeys([*a, *b])})
    differences = compare_ranks(
        [ranks[path] for path in a], [ranks[path] for path in b], caption_to_image, settings.resamples, settings.seed
    )
    images, captions = len(ranks[a[0]].i2t), len(caption_to_image)
    about = {"a": [str(p.parent) for p in a], "b": [str(p.parent) for p in b], "images": images, "captions": captions}
    _print(differences, about)
    if settings.out is not None:
        _write(settings.out, differences, about | {"resamples": settings.resamples, "seed": settings.seed})
    return differences


def _tables(side: Literal["a", "b"], given: list[str], runs: Path) -> list[Path]:
    """The ``ranks.csv`` of each folder or run of a side."""
    folders = [_folder(side, name, runs) for name in given]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ConfigError(f"{side} names {folder} twice; allowed: each seed once")
        if not (folder / "ranks.csv").is_file():
            is_run = (folder / "config.yaml").is_file()
            raise ConfigError(
                f"{side}={folder} has no ranks.csv; "
                + (
                    "this run has not finished: go on with resume="
                    if is_run
                    else "let tangka_match.evaluate write out="
                )
                + (folder.name if is_run else str(folder))
            )
    return [folder / "ranks.csv" for folder in folders]


def _folder(side: Literal["a", "b"], name: str, runs: Path) -> Path:
    if Path(name).is_dir():
        return Path(name).resolve()
    if Path(name).name != name:
        raise ConfigError(f"{side}={name}: no such folder; give one that tangka_match.evaluate wrote, or a run id")
    try:
        return find_run(runs, name, side).resolve()
    except ConfigError as error:
        raise ConfigError(f"{error}, or a folder that tangka_match.evaluate wrote") from error


def _print(differences: dict[str, Difference], about: dict[str, Any]) -> None:
    seeds = [len(about[side]) for side in ("a", "b")]
    if seeds == [1, 1]:
        scope = "Intervals and p: for these two models, asked other queries of the same kind"
    else:
        scope = (
            f"Intervals and p: for training again with other seeds ({seeds[0]} and {seeds[1]} here), and other queries"
        )
    console = rich.get_console()
    for side in ("a", "b"):
        console.print(f"{side}  {'  '.join(about[side])}", highlight=False, markup=False, soft_wrap=True)
    title = f"{about['images']:,} images, {about['captions']:,} captions"
    console.print(comparison_table(differences, title=title, caption=scope))
    console.print(
        f"mean R@1: {verdict(PRIMARY_METRIC, differences[PRIMARY_METRIC])}",
        highlight=False,
        style="bold",
        soft_wrap=True,
    )


def _write(out: Path, differences: dict[str, Difference], about: dict[str, Any]) -> None:
    content = {
        **about,
        "verdict": {
            "metric": PRIMARY_METRIC,
            "better": better(PRIMARY_METRIC, differences[PRIMARY_METRIC]),
            "text": verdict(PRIMARY_METRIC, differences[PRIMARY_METRIC]),
        },
        "metrics": {name: found._asdict() for name, found in differences.items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
