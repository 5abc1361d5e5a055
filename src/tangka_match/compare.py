"""Test whether one model, or one recipe of several seeds, is significantly better than another.

    python -m tangka_match.compare a=RUN_ID b=RUN_ID [out=comparison.json] [tables=[comparison.md,comparison.tex]]
    python -m tangka_match.compare 'a=[RUN_ID,RUN_ID]' 'b=[RUN_ID,RUN_ID]'
    python -m tangka_match.compare a=SWEEP_ID b=SWEEP_ID
    python -m tangka_match.compare a=SCORES.npy b=SCORES.npy captions_per_image=5

A side is a run id, a folder written by ``tangka_match.evaluate``, the id or folder of a sweep, which stands for all its
runs, or a score matrix of another program (rows images, columns captions); or a list of them: the seeds of one recipe.
The folds of a cross-validation (``data.folds``) are pooled.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from omegaconf import DictConfig
from pydantic import Field

from tangka_match.cli import check_is_new, command, read_settings, say
from tangka_match.errors import ConfigError
from tangka_match.files import write_text_completely
from tangka_match.settings import OneOrMore, Settings, Text

if TYPE_CHECKING:
    from torch import Tensor

    from tangka_match.analysis.significance import Difference
    from tangka_match.metrics import Ranks
    from tangka_match.retrieval.evaluation_files import Query

Side = Annotated[list[Text], OneOrMore, Field(min_length=1)]


class ComparisonSettings(Settings):
    """Settings of a comparison; see ``conf/compare.yaml``."""

    a: Side
    b: Side
    captions_per_image: Annotated[int, Field(ge=1)] | None
    ids: Path | None
    out: Path | None
    tables: Annotated[list[Path], OneOrMore] | None
    resamples: int
    seed: Annotated[int, Field(ge=0)]


def compare(config: DictConfig) -> None:
    """Compare the two sides, print the table and the verdict, and write them if ``out`` is set.

    Raises:
        TangkaMatchError: On invalid settings, or if ranks are missing or the sides cannot be compared.
    """
    from tangka_match.analysis.paper_table import check_table_paths, difference_table, write_tables
    from tangka_match.analysis.significance import compare_ranks

    settings = read_settings(config, ComparisonSettings, groups=("paths", "debug"))
    if settings.out is not None:
        check_is_new(settings.out)
    tables = settings.tables or []
    check_table_paths(tables)
    runs = Path(config.paths.runs)
    a, b = _find_folders("a", settings.a, runs), _find_folders("b", settings.b, runs)
    for folder in a:
        if folder in b:
            say(f"a and b both hold {folder}: a model does not differ from itself", style="bold red")
    sides = _read_ranks(a, b, settings)
    differences = compare_ranks(sides.a, sides.b, sides.caption_to_image, settings.resamples, settings.seed)
    about: dict[str, Any] = {
        "a": list(map(str, a)),
        "b": list(map(str, b)),
        "images": len(sides.a[0].i2t),
        "captions": len(sides.caption_to_image),
        **({} if sides.folds is None else {"folds": sides.folds}),
    }
    _print(differences, about, (len(sides.a), len(sides.b)))
    if settings.out is not None:
        _write(settings.out, differences, about | {"resamples": settings.resamples, "seed": settings.seed})
    names = [", ".join(folder.name for folder in folders) for folders in (a, b)]
    gallery = {"images": about["images"], "captions": about["captions"]}
    write_tables(difference_table(differences, (names[0], names[1]), **gallery), tables)
    for path in tables:
        say(f"written to {path}")


class _Sides(NamedTuple):
    """Ranks of the seeds of both sides, in the same order of queries; ``folds`` describes the pooled folds."""

    a: "list[Ranks]"
    b: "list[Ranks]"
    caption_to_image: "Tensor"
    folds: str | None


def _read_ranks(a: list[Path], b: list[Path], settings: ComparisonSettings) -> _Sides:
    """Read the ranks of all folders, and pool the folds of each seed if the runs held out folds."""
    from tangka_match.analysis.comparison import in_one_order
    from tangka_match.analysis.folds import by_seed, check_same_folds, describe_folds, pool_ranks
    from tangka_match.analysis.runs.selection import is_fold
    from tangka_match.records.run_files import LEDGER, read_run_files
    from tangka_match.records.run_record import damage, make_record

    sources = list(dict.fromkeys([*a, *b]))
    records = {folder: make_record(read_run_files(folder)) for folder in sources if not _is_matrix(folder)}
    for damaged in damage([record for folder, record in records.items() if (folder / LEDGER).exists()]):
        say(damaged)
    if not any(is_fold(record) for record in records.values()):
        ranks, owners = in_one_order({source: _read_table(source, settings) for source in sources})
        seeds = [[ranks[source] for source in side] for side in (a, b)]
        return _Sides(seeds[0], seeds[1], owners, None)
    if len(records) < len(sources):
        raise ConfigError("a score matrix cannot be compared with the folds of a cross-validation; evaluate one model")
    seeds_a, seeds_b = (by_seed([records[folder] for folder in side], name) for name, side in (("a", a), ("b", b)))
    check_same_folds("a", seeds_a[0], "b", seeds_b[0])
    pooled, owners = pool_ranks([*seeds_a, *seeds_b])
    return _Sides(pooled[: len(seeds_a)], pooled[len(seeds_a) :], owners, describe_folds(seeds_a[0]))


def _is_matrix(source: Path) -> bool:
    return source.suffix == ".npy" and source.is_file()


def _read_table(source: Path, settings: ComparisonSettings) -> "dict[Query, int]":
    """Read the ranks of a folder, or rank a score matrix."""
    from tangka_match.retrieval.evaluation_files import ranks_by_query, read_ranks_table
    from tangka_match.retrieval.given_scores import Pairing, read_scores

    if not _is_matrix(source):
        return read_ranks_table(source / "ranks.csv")
    scores = read_scores(source, Pairing(settings.captions_per_image, settings.ids))
    return ranks_by_query(scores.similarity, scores)


def _find_folders(side: Literal["a", "b"], names: list[str], runs: Path) -> list[Path]:
    """Return the folders of a side, each with a ``ranks.csv``; a sweep stands for the folders of its runs."""
    from tangka_match.sweeps.finished_runs import sweep_runs

    folders = [folder for name in names for folder in sweep_runs(side, name, runs) or [_find_folder(side, name, runs)]]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ConfigError(f"{side} names {folder} twice; give each seed once")
        if not _is_matrix(folder) and not (folder / "ranks.csv").is_file():
            raise ConfigError(f"{side}={folder} has no ranks.csv; {_remedy(folder)}")
    return folders


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

    if Path(name).is_dir() or _is_matrix(Path(name)):
        return Path(name).resolve()
    if Path(name).name != name or name.endswith(".npy"):
        raise ConfigError(
            f"{side}={name}: no such folder; give a folder written by tangka_match.evaluate, a run id, or scores (.npy)"
        )
    try:
        return find_run(runs, name, side).resolve()
    except ConfigError as error:
        raise ConfigError(f"{error}, or a folder written by tangka_match.evaluate") from error


def _print(differences: dict[str, "Difference"], about: dict[str, Any], seeds: tuple[int, int]) -> None:
    import rich

    from tangka_match.analysis.comparison import comparison_table, verdict
    from tangka_match.metric_names import PRIMARY_METRIC

    folds = about.get("folds")
    if seeds == (1, 1):
        models = "two models" if folds is None else "models, one per side and fold,"
        scope = f"Intervals and p-values hold for these {models} on other queries of the same kind"
    else:
        scope = (
            f"Intervals and p-values hold for retraining with other seeds ({seeds[0]} and {seeds[1]} here) and for "
            "other queries"
        )
    for side in ("a", "b"):
        say(f"{side}  {'  '.join(about[side])}")
    pooled = "" if folds is None else f", pooled over {folds}"
    title = f"{about['images']:,} images, {about['captions']:,} captions{pooled}"
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
    write_text_completely(out, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


main = command("compare", compare)

if __name__ == "__main__":
    main()
