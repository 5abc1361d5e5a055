"""Diagnose a data set, a run and its model.

    python -m tangka_match.diagnose data=precomp data.root=FOLDER [run=RUN_ID] [checkpoint=CHECKPOINT] out=FOLDER
    python -m tangka_match.diagnose data=precomp data.root=FOLDER folds=SWEEP_ID out=FOLDER
    python -m tangka_match.diagnose similarity=SCORES.npy captions_per_image=5 out=FOLDER

Reports faults of the data and the highest recall they allow, problems of a run, and the queries, words and hubs that
its model fails at. ``folds`` names a cross-validation, whose models rank every pair without having seen it: the
suspicious ones are listed in ``pairs.csv``, and on a page to look through them. ``learning_curve=true`` also trains on
shares of the training set, to estimate how many pairs a target recall takes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, Field

from tangka_match.cli import (
    allow_no_data,
    command,
    open_split,
    read_settings,
    say,
    usable_device,
    write_missing_data,
)
from tangka_match.errors import ConfigError
from tangka_match.settings import Ascending, OneOrMore, Settings, Text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tangka_match.analysis.diagnosis.finding import Section
    from tangka_match.analysis.folds import FoldedSeed
    from tangka_match.data.feature_scan import FeatureScan
    from tangka_match.data.split import Split
    from tangka_match.records.run_record import RunRecord
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
    similarity: Path | None
    captions_per_image: Annotated[int, Field(ge=1)] | None
    ids: Path | None
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
    from tangka_match.analysis.diagnosis.output import check_out
    from tangka_match.analysis.diagnosis.profile import check_profile

    if config.get("similarity") is not None:
        allow_no_data(config.data)
    settings = read_settings(config, DiagnosisSettings)
    _check_what_is_diagnosed(settings, config.data.root)
    check_out(settings.out)
    if settings.profile is not None:
        check_profile(settings.profile)
    if config.data.root is None:
        _diagnose_matrix(settings)
    else:
        _diagnose_set(config, settings)


def _diagnose_set(config: DictConfig, settings: DiagnosisSettings) -> None:
    from tangka_match import load
    from tangka_match.analysis.diagnosis.output import PAIR_FILES
    from tangka_match.analysis.diagnosis.sections import find_best_checkpoint, model_sections, training_section
    from tangka_match.data.feature_scan import scan_features
    from tangka_match.records.run_files import read_run_files
    from tangka_match.records.run_folder import find_run
    from tangka_match.records.run_record import make_record

    run = None if settings.run is None else find_run(Path(config.paths.runs), settings.run, "run")
    checkpoint = settings.checkpoint
    if checkpoint is None and run is not None:
        checkpoint = find_best_checkpoint(run, Path(config.paths.checkpoints))
    data, profile = config.data, settings.profile
    seed = None if settings.folds is None else _find_folds(settings.folds, Path(config.paths.runs))
    # The checkpoint is loaded first, so that a bad file is reported before large data are scanned.
    matcher = None if checkpoint is None else load(checkpoint, device=settings.device, batch_size=data.eval_batch_size)
    write_missing_data(data)
    splits = _open_splits(data, settings.split, *(() if seed is None else ("val",)))
    of_model: list[Section] = []
    if settings.similarity is not None:
        of_model, recalls = _diagnose_scores(settings, splits[settings.split])
        profile = profile or recalls
    scans = {name: scan_features(split) for name, split in splits.items()}
    of_pairs = [] if seed is None else [_diagnose_folds(seed, config, splits, scans, settings)]
    if matcher is not None:
        of_model = model_sections(matcher, splits, scans, settings.split)
    sections = _diagnose_data(data, splits, scans, settings.split, profile or _profile_of_run(run, settings.split))
    if run is not None:
        _say_what_is_damaged([make_record(read_run_files(run))])
        sections.append(training_section(run))
    sections += of_model + of_pairs
    if settings.learning_curve:
        from tangka_match.sweeps.learning_curve import train_learning_curve

        sections.append(train_learning_curve(**settings.curve.model_dump()))
    root = Path(data.root).absolute()
    about = {
        "data": str(root),
        "run": None if run is None else run.name,
        "checkpoint": None if checkpoint is None else str(checkpoint.absolute()),
        "similarity": None if settings.similarity is None else str(settings.similarity.absolute()),
        "folds": None if seed is None else ", ".join(run.run_id for run in seed.runs.values()),
        "splits": ", ".join(splits),
    }
    _report(settings.out, root.name, about, sections)
    for name in PAIR_FILES if of_pairs else ():
        say(f"written to   {settings.out / name}")


def _profile_of_run(run: Path | None, split: str) -> list[float] | None:
    """Return the recalls of a run on the split; a run is validated on val only."""
    from tangka_match.analysis.diagnosis.sections import run_profile

    return run_profile(run) if run is not None and split == "val" else None


def _check_what_is_diagnosed(settings: DiagnosisSettings, root: str | None) -> None:
    """Refuse settings that exclude each other."""
    pairing = [name for name in ("captions_per_image", "ids") if getattr(settings, name) is not None]
    if settings.similarity is None:
        if pairing:
            raise ConfigError(f"{pairing[0]} belongs to similarity=<scores.npy>, which is not set; remove it")
        return
    others = [name for name in ("run", "checkpoint", "folds") if getattr(settings, name) is not None]
    if others:
        raise ConfigError(f"similarity=<scores.npy> and {others[0]}= are both set; remove one of them")
    if root is not None and pairing:
        raise ConfigError(
            f"data.root={root} says which caption belongs to which image; remove {pairing[0]}, or data.root"
        )
    if root is None and settings.learning_curve:
        raise ConfigError("learning_curve=true trains on a data set: set data.root as well")
    if root is None and settings.profile is not None:
        raise ConfigError(f"profile={settings.profile} describes a data set: set data.root as well, or remove it")


def _diagnose_matrix(settings: DiagnosisSettings) -> None:
    """Diagnose the scores of another program without the data set."""
    assert settings.similarity is not None
    sections, _ = _diagnose_scores(settings, None)
    about = {"similarity": str(settings.similarity.absolute())}
    _report(settings.out, settings.similarity.name, about, sections)


def _diagnose_scores(settings: DiagnosisSettings, split: "Split | None") -> "tuple[list[Section], list[float]]":
    """Diagnose the scores of another program; also return their text→image R@1, R@5 and R@10."""
    from tangka_match.analysis.diagnosis.model.scored import scored_by_others
    from tangka_match.analysis.diagnosis.model.section import diagnose_scores
    from tangka_match.metric_names import CUTOFFS
    from tangka_match.metrics import summarise
    from tangka_match.retrieval.given_scores import Pairing, read_scores

    assert settings.similarity is not None
    pairing = Pairing(settings.captions_per_image, settings.ids) if split is None else split
    scored = scored_by_others(read_scores(settings.similarity, pairing), split)
    recalls = summarise(scored.ranks)
    return diagnose_scores(scored), [recalls[f"t2i_r{k}"] for k in CUTOFFS]


def _report(out: Path, name: str, about: "Mapping[str, str | None]", sections: "list[Section]") -> None:
    import rich

    from tangka_match.analysis.diagnosis.output import print_diagnosis, write_diagnosis

    page = out / "diagnosis.html"
    is_replaced = page.exists()
    write_diagnosis(out, f"Diagnosis of {name}", about, sections)
    print_diagnosis(rich.get_console(), sections)
    say(f"written to   {page}{' (replaces an earlier one)' if is_replaced else ''}")


def _find_folds(names: list[str], runs: Path) -> "FoldedSeed":
    """Find the runs of a cross-validation: those of a sweep, or a list of runs."""
    from tangka_match.analysis.diagnosis.pairs.held_out import read_folds
    from tangka_match.records.run_folder import find_run
    from tangka_match.sweeps.finished_runs import sweep_runs

    folders = []
    for name in names:
        is_folder = Path(name).name != name and (Path(name) / "config.yaml").is_file()
        folders += sweep_runs("folds", name, runs) or [Path(name) if is_folder else find_run(runs, name, "folds")]
    seed = read_folds(folders)
    _say_what_is_damaged(list(seed.runs.values()))
    return seed


def _say_what_is_damaged(runs: "Sequence[RunRecord]") -> None:
    from tangka_match.records.run_record import damage

    for damaged in damage(runs):
        say(damaged)


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
    name: str,
    profile: list[float] | None,
) -> "list[Section]":
    from hydra.utils import instantiate

    from tangka_match.analysis.diagnosis.sections import data_sections
    from tangka_match.config.arguments import with_import_paths

    return data_sections(
        splits,
        scans,
        instantiate(with_import_paths(OmegaConf.to_container(data.tokenizer, resolve=True)), _convert_="all"),
        name,
        vocabulary_path=data.vocabulary_path,
        min_count=data.min_count,
        character_fallback=data.character_fallback,
        max_tokens=data.max_tokens,
        profile=profile,
    )


main = command("diagnose", diagnose)

if __name__ == "__main__":
    main()
