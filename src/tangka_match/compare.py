"""Test whether one model, or one recipe of several seeds, is significantly better than another.

    python -m tangka_match.compare a=RUN_ID b=RUN_ID [out=comparison.json] [tables=[comparison.md,comparison.tex]]
    python -m tangka_match.compare 'a=[RUN_ID,RUN_ID]' 'b=[RUN_ID,RUN_ID]'

A side is a run id or a folder written by ``tangka_match.evaluate``, or a list of them: the seeds of one recipe.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig
from pydantic import Field

from tangka_match.cli import check_is_new, command, read_settings, say
from tangka_match.errors import ConfigError
from tangka_match.settings import OneOrMore, Settings, Text

if TYPE_CHECKING:
    from tangka_match.analysis.significance import Difference

Side = Annotated[list[Text], OneOrMore, Field(min_length=1)]


class ComparisonSettings(Settings):
    """Settings of a comparison; see ``conf/compare.yaml``."""

    a: Side
    b: Side
    out: Path | None
    tables: Annotated[list[Path], OneOrMore] | None
    resamples: int
    seed: Annotated[int, Field(ge=0)]


def compare(config: DictConfig) -> None:
    """Compare the two sides, print the table and the verdict, and write them if ``out`` is set.

    Raises:
        TangkaMatchError: On invalid settings, or if ranks are missing or the sides cannot be compared.
    """
    from tangka_match.analysis.comparison import in_one_order
    from tangka_match.analysis.paper_table import check_table_paths, difference_table, write_tables
    from tangka_match.analysis.significance import compare_ranks
    from tangka_match.retrieval.evaluation_files import read_ranks_table

    settings = read_settings(config, ComparisonSettings, groups=("paths", "debug"))
    if settings.out is not None:
        check_is_new(settings.out)
    tables = settings.tables or []
    check_table_paths(tables)
    runs = Path(config.paths.runs)
    a, b = _find_tables("a", settings.a, runs), _find_tables("b", settings.b, runs)
    for path in a:
        if path in b:
            say(f"a and b both hold {path.parent}: a model does not differ from itself", style="bold red")
    ranks, caption_to_image = in_one_order({path: read_ranks_table(path) for path in dict.fromkeys([*a, *b])})
    differences = compare_ranks(
        [ranks[path] for path in a], [ranks[path] for path in b], caption_to_image, settings.resamples, settings.seed
    )
    images, captions = len(ranks[a[0]].i2t), len(caption_to_image)
    about = {"a": [str(p.parent) for p in a], "b": [str(p.parent) for p in b], "images": images, "captions": captions}
    _print(differences, about)
    if settings.out is not None:
        _write(settings.out, differences, about | {"resamples": settings.resamples, "seed": settings.seed})
    names = [", ".join(path.parent.name for path in paths) for paths in (a, b)]
    write_tables(difference_table(differences, (names[0], names[1]), images=images, captions=captions), tables)
    for path in tables:
        say(f"written to {path}")


def _find_tables(side: Literal["a", "b"], names: list[str], runs: Path) -> list[Path]:
    """Return the ``ranks.csv`` of each folder or run of a side."""
    folders = [_find_folder(side, name, runs) for name in names]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ConfigError(f"{side} names {folder} twice; give each seed once")
        if not (folder / "ranks.csv").is_file():
            raise ConfigError(f"{side}={folder} has no ranks.csv; {_remedy(folder)}")
    return [folder / "ranks.csv" for folder in folders]


def _remedy(folder: Path) -> str:
    """Say how to get the ranks of a folder without them."""
    from tangka_match.records.run_record import read_records

    if not (folder / "config.yaml").is_file():
        return f"write it with tangka_match.evaluate out={folder}"
    (run,) = read_records([folder])
    if run.status == "running":
        return "the run has not finished"
    return f"the run has not finished (status: {run.status}): continue it with resume={folder.name}, or choose another"


def _find_folder(side: Literal["a", "b"], name: str, runs: Path) -> Path:
    from tangka_match.records.run_folder import find_run

    if Path(name).is_dir():
        return Path(name).resolve()
    if Path(name).name != name:
        raise ConfigError(f"{side}={name}: no such folder; give a folder written by tangka_match.evaluate, or a run id")
    try:
        return find_run(runs, name, side).resolve()
    except ConfigError as error:
        raise ConfigError(f"{error}, or a folder written by tangka_match.evaluate") from error


def _print(differences: dict[str, "Difference"], about: dict[str, Any]) -> None:
    import rich

    from tangka_match.analysis.comparison import comparison_table, verdict
    from tangka_match.metric_names import PRIMARY_METRIC

    seeds = [len(about[side]) for side in ("a", "b")]
    if seeds == [1, 1]:
        scope = "Intervals and p-values hold for these two models on other queries of the same kind"
    else:
        scope = (
            f"Intervals and p-values hold for retraining with other seeds ({seeds[0]} and {seeds[1]} here) and for "
            "other queries"
        )
    for side in ("a", "b"):
        say(f"{side}  {'  '.join(about[side])}")
    title = f"{about['images']:,} images, {about['captions']:,} captions"
    rich.get_console().print(comparison_table(differences, title=title, caption=scope))
    say(f"mean R@1: {verdict(PRIMARY_METRIC, differences[PRIMARY_METRIC])}", style="bold")


def _write(out: Path, differences: dict[str, "Difference"], about: dict[str, Any]) -> None:
    from tangka_match.analysis.comparison import better, verdict
    from tangka_match.metric_names import PRIMARY_METRIC

    content = {
        **about,
        "verdict": {
            "metric": PRIMARY_METRIC,
            "better": better(PRIMARY_METRIC, differences[PRIMARY_METRIC]),
            "text": verdict(PRIMARY_METRIC, differences[PRIMARY_METRIC]),
        },
        "metrics": {name: difference._asdict() for name, difference in differences.items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


main = command("compare", compare)

if __name__ == "__main__":
    main()
