"""From a composed config to a written diagnosis."""

import re
from pathlib import Path
from typing import Annotated, Any

import rich
from hydra.utils import instantiate
from omegaconf import DictConfig
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from tangka_match import load
from tangka_match.analysis.diagnosis.ceiling import diagnose_ceiling
from tangka_match.analysis.diagnosis.duplicates import diagnose_duplicates
from tangka_match.analysis.diagnosis.feature_scan import FeatureScan, scan_features
from tangka_match.analysis.diagnosis.finding import Section
from tangka_match.analysis.diagnosis.output import check_out, print_diagnosis, write_diagnosis
from tangka_match.analysis.diagnosis.pictures import diagnose_pictures
from tangka_match.analysis.diagnosis.power import diagnose_power
from tangka_match.analysis.diagnosis.profile import check_profile
from tangka_match.analysis.diagnosis.texts import Texts, diagnose_texts
from tangka_match.analysis.diagnosis.training import diagnose_training, profile_of
from tangka_match.config.command_settings import check_settings
from tangka_match.config.evaluation import usable_device
from tangka_match.config.learning_curve import CurveSettings, diagnose_more_pairs
from tangka_match.config.model_diagnosis import best_of_run, model_sections, run_config
from tangka_match.data.captions import normalise_caption
from tangka_match.data.layout import available_splits
from tangka_match.data.segmentation import domain_terms
from tangka_match.data.split import Split, load_split
from tangka_match.data.tokenizer import CaptionTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError
from tangka_match.records.ledger import read_ledger
from tangka_match.records.run_folder import find_run

# What jieba can keep whole: it always cuts at other characters.
WHOLE = re.compile("[\u4e00-\u9fd5A-Za-z0-9]{2,}")


def _as_name(value: Any) -> Any:
    """A run id that is all digits arrives as a number."""
    return value if value is None else str(value)


class DiagnosisSettings(BaseModel):
    """Settings of a diagnosis; ``conf/diagnose.yaml`` says what each one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: Annotated[str | None, BeforeValidator(_as_name)]
    checkpoint: Path | None
    device: Annotated[str, AfterValidator(usable_device)]
    split: str
    profile: list[float] | None
    learning_curve: bool
    curve: CurveSettings
    out: Path


def diagnose(config: DictConfig) -> list[Section]:
    """Diagnose what ``config`` says, print the findings and write the folder.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    settings = check_settings(config, DiagnosisSettings)
    check_out(settings.out)
    if settings.profile is not None:
        check_profile(settings.profile)
    run = None if settings.run is None else find_run(Path(config.paths.runs), settings.run, "run")
    checkpoint = settings.checkpoint
    if checkpoint is None and run is not None:
        checkpoint = best_of_run(run, Path(config.paths.checkpoints))
    data = config.data
    # Loaded first, since a file that is no checkpoint should not cost the minutes that large data take.
    matcher = None if checkpoint is None else load(checkpoint, device=settings.device, batch_size=data.eval_batch_size)
    if data.get("writer") is not None:
        instantiate(data.writer).ensure(Path(data.root))
    splits = _splits(data, settings.split)
    scans = {name: scan_features(split) for name, split in splits.items()}
    of_model = [] if matcher is None else model_sections(matcher, splits, scans, settings.split)
    sections = _data_sections(data, splits, scans, settings, None if run is None else _profile(run))
    if run is not None:
        sections.append(_training_section(run))
    sections += of_model
    if settings.learning_curve:
        sections.append(diagnose_more_pairs(settings.curve))
    about = {
        "data": str(Path(data.root).absolute()),
        "run": None if run is None else run.name,
        "checkpoint": None if checkpoint is None else str(checkpoint.absolute()),
        "splits": ", ".join(splits),
    }
    write_diagnosis(settings.out, f"Diagnosis of {Path(data.root).absolute().name}", about, sections)
    console = rich.get_console()
    print_diagnosis(console, sections)
    console.print(f"written to   {settings.out / 'diagnosis.html'}", highlight=False, soft_wrap=True)
    return sections


def _splits(data: DictConfig, asked: str) -> dict[str, Split]:
    """``train``, the split asked for, and what else of val and test lies there; damaged features are read too."""
    there = available_splits(data.root)
    names = dict.fromkeys(["train", *(name for name in ("val", "test") if name in there), asked])
    counts = data.get("expected_counts") or {}
    return {name: load_split(data.root, name, *counts.get(name, (None, None)), check_features=False) for name in names}


def _data_sections(
    data: DictConfig,
    splits: dict[str, Split],
    scans: dict[str, FeatureScan],
    settings: DiagnosisSettings,
    of_run: list[float] | None,
) -> list[Section]:
    tokenizer: CaptionTokenizer = instantiate(data.tokenizer, _convert_="all")
    texts = {
        name: Texts(split, [normalise_caption(c) for c in split.captions], [tokenizer(c) for c in split.captions])
        for name, split in splits.items()
    }
    if tokenizer.vocabulary is not None:
        vocabulary = tokenizer.vocabulary
    elif data.vocabulary_path is None:
        vocabulary = Vocabulary.build(texts["train"].words, data.min_count)
    else:
        vocabulary = Vocabulary.load(data.vocabulary_path)
    duplicates, groups = diagnose_duplicates(texts, scans)
    name, split = settings.split, splits[settings.split]
    # A run is validated on val: its recalls say nothing of another split.
    profile = settings.profile or (of_run if name == "val" else None)
    return [
        diagnose_pictures(splits, scans),
        diagnose_texts(texts, vocabulary, _terms(tokenizer), data.max_tokens),
        duplicates,
        diagnose_ceiling(name, groups[name], split.caption_to_image, profile),
        diagnose_power(name, split.num_images, None if profile is None else profile[0]),
    ]


def _terms(tokenizer: CaptionTokenizer) -> list[str]:
    """Words that should come out whole: those of Thangka painting, and those of the user's dictionaries."""
    known = [entry.word for entry in domain_terms()] + [word for word, *_ in tokenizer.settings().get("words", ())]
    return [word for word in dict.fromkeys(map(normalise_caption, known)) if WHOLE.fullmatch(word)]


def _profile(run: Path) -> list[float] | None:
    return profile_of(_ledger(run))


def _training_section(run: Path) -> Section:
    plain = run_config(run)
    try:
        loss, clip = plain["loss"], plain["trainer"]["gradient_clip_val"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"run={run.name}: {run / 'config.yaml'} is not the config of a run ({error})") from error
    return diagnose_training(run.name, _ledger(run), loss, clip)


def _ledger(run: Path) -> list[dict[str, Any]]:
    try:
        return read_ledger(run / "ledger.jsonl")
    except OSError as error:
        raise ConfigError(
            f"run={run.name}: {run / 'ledger.jsonl'} cannot be read ({error.strerror}); choose a run that has one"
        ) from error
