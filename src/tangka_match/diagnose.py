"""Diagnose a data set, a run and its model.

    python -m tangka_match.diagnose data=precomp data.root=FOLDER [run=RUN_ID] [checkpoint=CHECKPOINT] out=FOLDER
    python -m tangka_match.diagnose data=precomp data.root=FOLDER folds=SWEEP_ID out=FOLDER

Reports faults of the data and the highest recall they allow, problems of a run, and the queries, words and hubs that
its model fails at. ``folds`` names a cross-validation, whose models rank every pair without having seen it: the
suspicious ones are listed in ``pairs.csv``, and on a page to look through them. ``learning_curve=true`` also trains on
shares of the training set, to estimate how many pairs a target recall takes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, Field

from tangka_match.cli import command, open_split, read_settings, say, usable_device, write_missing_data
from tangka_match.settings import Ascending, OneOrMore, Settings, Text

if TYPE_CHECKING:
    from tangka_match.analysis.diagnosis.finding import Section
    from tangka_match.analysis.folds import FoldedSeed
    from tangka_match.data.feature_scan import FeatureScan
    from tangka_match.data.split import Split
    from tangka_match.retrieval.trained_matcher import TrainedMatcher


def _enough_for_a_curve(shares: list[float]) -> list[float]:
    from tangka_match.analysis.saturating_curve import FEWEST_SIZES

    if len(shares) < FEWEST_SIZES:
        raise ValueError(f"{shares} has {len(shares)} values; a curve needs at least {FEWEST_SIZES}")
    return shares


class CurveSettings(Settings):
    """Settings of a learning curve; see ``conf/diagnose.yaml``."""

    experiment: str | None
    overrides: list[str]
    shares: Annotated[list[Annotated[float, Field(gt=0.0, le=1.0)]], AfterValidator(_enough_for_a_curve), Ascending]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2), Ascending]
    target: Annotated[float, Field(gt=0.0, lt=100.0)]


class DiagnosisSettings(Settings):
    """Settings of a diagnosis; see ``conf/diagnose.yaml``."""

    run: Text | None
    checkpoint: Path | None
    folds: Annotated[list[Text], OneOrMore, Field(min_length=1)] | None
    device: Annotated[str, AfterValidator(usable_device)]
    split: str
    profile: list[float] | None
    learning_curve: bool
    curve: CurveSettings
    out: Path


def diagnose(config: DictConfig) -> None:
    """Diagnose the data, and the run and model if they are given; print the findings and write the page.

    Raises:
        TangkaMatchError: On invalid settings, data, runs or checkpoints.
    """
    import rich

    from tangka_match import load
    from tangka_match.analysis.diagnosis.output import PAIR_FILES, check_out, print_diagnosis, write_diagnosis
    from tangka_match.analysis.diagnosis.profile import check_profile
    from tangka_match.analysis.diagnosis.sections import find_best_checkpoint, model_sections, training_section
    from tangka_match.data.feature_scan import scan_features
    from tangka_match.records.run_folder import find_run

    settings = read_settings(config, DiagnosisSettings)
    check_out(settings.out)
    if settings.profile is not None:
        check_profile(settings.profile)
    run = None if settings.run is None else find_run(Path(config.paths.runs), settings.run, "run")
    checkpoint = settings.checkpoint
    if checkpoint is None and run is not None:
        checkpoint = find_best_checkpoint(run, Path(config.paths.checkpoints))
    data = config.data
    seed = None if settings.folds is None else _find_folds(settings.folds, Path(config.paths.runs))
    # The checkpoint is loaded first, so that a bad file is reported before large data are scanned.
    matcher = None if checkpoint is None else load(checkpoint, device=settings.device, batch_size=data.eval_batch_size)
    write_missing_data(data)
    splits = _open_splits(data, settings.split, *(() if seed is None else ("val",)))
    scans = {name: scan_features(split) for name, split in splits.items()}
    of_pairs = [] if seed is None else [_diagnose_folds(seed, config, splits, scans, settings)]
    of_model = [] if matcher is None else model_sections(matcher, splits, scans, settings.split)
    sections = _diagnose_data(data, splits, scans, settings, run)
    if run is not None:
        sections.append(training_section(run))
    sections += of_model + of_pairs
    if settings.learning_curve:
        from tangka_match.sweeps.learning_curve import train_learning_curve

        sections.append(train_learning_curve(**settings.curve.model_dump()))
    about = {
        "data": str(Path(data.root).absolute()),
        "run": None if run is None else run.name,
        "checkpoint": None if checkpoint is None else str(checkpoint.absolute()),
        "folds": None if seed is None else ", ".join(run.run_id for run in seed.runs.values()),
        "splits": ", ".join(splits),
    }
    write_diagnosis(settings.out, f"Diagnosis of {Path(data.root).absolute().name}", about, sections)
    print_diagnosis(rich.get_console(), sections)
    for name in ("diagnosis.html", *(PAIR_FILES if of_pairs else ())):
        say(f"written to   {settings.out / name}")


def _find_folds(names: list[str], runs: Path) -> "FoldedSeed":
    """Find the runs of a cross-validation: those of a sweep, or a list of runs."""
    from tangka_match.analysis.diagnosis.pairs.held_out import read_folds
    from tangka_match.records.run_folder import find_run
    from tangka_match.sweeps.finished_runs import sweep_runs

    folders = []
    for name in names:
        is_folder = Path(name).name != name and (Path(name) / "config.yaml").is_file()
        folders += sweep_runs("folds", name, runs) or [Path(name) if is_folder else find_run(runs, name, "folds")]
    return read_folds(folders)


def _diagnose_folds(
    seed: "FoldedSeed",
    config: DictConfig,
    splits: "dict[str, Split]",
    scans: "dict[str, FeatureScan]",
    settings: DiagnosisSettings,
) -> "Section":
    """Rank every pair by the model that did not see it, write ``pairs.csv`` and its page, and summarise them."""
    from tangka_match import load
    from tangka_match.analysis.diagnosis.pairs.held_out import score_folds
    from tangka_match.analysis.diagnosis.pairs.section import diagnose_pairs
    from tangka_match.analysis.diagnosis.pairs.suspects import list_suspects, outlier_images
    from tangka_match.analysis.diagnosis.pairs.write import write_pairs
    from tangka_match.analysis.folds import describe_folds
    from tangka_match.data.exclude import read_excluded
    from tangka_match.data.folds import group_images, pool_splits

    pool = pool_splits(splits["train"], splits["val"])
    excluded = set() if config.data.exclude is None else read_excluded(config.data.exclude, pool)

    def read(checkpoint: Path) -> "TrainedMatcher":
        say(f"scoring the held-out fold of {checkpoint.parent.name}")
        return load(checkpoint, device=settings.device, batch_size=config.data.eval_batch_size)

    folds = score_folds(seed, pool, Path(config.paths.checkpoints), read)
    outliers = outlier_images([scans["train"], scans["val"]])
    found = list_suspects(pool, folds, group_images(pool), outliers)
    write_pairs(settings.out, found, pool, excluded)
    return diagnose_pairs(found, describe_folds(seed))


def _open_splits(data: DictConfig, *wanted: str) -> "dict[str, Split]":
    """Open ``train``, the wanted splits, and ``val`` and ``test`` if they exist; damaged features are accepted."""
    from tangka_match.data.layout import available_splits

    existing = available_splits(data.root)
    names = dict.fromkeys(["train", *(other for other in ("val", "test") if other in existing), *wanted])
    return {each: open_split(data, each, check_features=False) for each in names}


def _diagnose_data(
    data: DictConfig,
    splits: "dict[str, Split]",
    scans: "dict[str, FeatureScan]",
    settings: DiagnosisSettings,
    run: Path | None,
) -> "list[Section]":
    from hydra.utils import instantiate

    from tangka_match.analysis.diagnosis.sections import data_sections, run_profile
    from tangka_match.config.arguments import with_import_paths

    profile = None if run is None else run_profile(run)
    return data_sections(
        splits,
        scans,
        instantiate(with_import_paths(OmegaConf.to_container(data.tokenizer, resolve=True)), _convert_="all"),
        settings.split,
        vocabulary_path=data.vocabulary_path,
        min_count=data.min_count,
        character_fallback=data.character_fallback,
        max_tokens=data.max_tokens,
        # A run is validated on val, so its recalls do not hold for another split.
        profile=settings.profile or (profile if settings.split == "val" else None),
    )


main = command("diagnose", diagnose)

if __name__ == "__main__":
    main()
