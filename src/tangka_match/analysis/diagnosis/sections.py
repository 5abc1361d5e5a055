"""Sections of a diagnosis, by input: the data, the records of a run, and a trained model."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tangka_match.analysis.diagnosis.ceiling import diagnose_ceiling
from tangka_match.analysis.diagnosis.duplicates import diagnose_duplicates
from tangka_match.analysis.diagnosis.finding import Section
from tangka_match.analysis.diagnosis.model.scored import score_split, undamaged, undamaged_bank
from tangka_match.analysis.diagnosis.model.section import diagnose_model, not_measured
from tangka_match.analysis.diagnosis.pictures import diagnose_pictures
from tangka_match.analysis.diagnosis.power import diagnose_power
from tangka_match.analysis.diagnosis.texts import Texts, diagnose_texts
from tangka_match.analysis.diagnosis.training import diagnose_training, profile_of
from tangka_match.data.captions import normalise_caption
from tangka_match.data.feature_scan import FeatureScan, track_progress
from tangka_match.data.segmentation import domain_terms
from tangka_match.data.split import Split
from tangka_match.data.tokenizer import CaptionTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.records.ledger import read_ledger
from tangka_match.records.saved_files import read_mapping
from tangka_match.records.schema import CONFIG
from tangka_match.retrieval.trained_matcher import TrainedMatcher

# jieba splits a word at any other character.
KEPT_WHOLE = re.compile("[\u4e00-\u9fd5A-Za-z0-9]{2,}")


def data_sections(
    splits: Mapping[str, Split],
    scans: Mapping[str, FeatureScan],
    tokenizer: CaptionTokenizer,
    name: str,
    *,
    vocabulary_path: str | Path | None,
    min_count: int,
    character_fallback: bool,
    max_tokens: int,
    profile: list[float] | None,
) -> list[Section]:
    """Diagnose pictures, captions, duplicates, the recall ceiling and the statistical power of a data set.

    Args:
        splits: Splits by name; one of them is ``train``.
        scans: Feature scan of each split.
        tokenizer: Tokenizer that training would use.
        name: Split whose ceiling and power are measured.
        vocabulary_path: Vocabulary file; ``None`` builds the vocabulary from the training captions.
        min_count: Minimum count of a word in that vocabulary.
        character_fallback: Whether that vocabulary encodes unknown words by their characters.
        max_tokens: Maximum length of a caption in training (tokens).
        profile: R@1, R@5 and R@10 of a model (text to image, percent), compared with the ceiling if given.
    """
    texts = {key: _read_texts(split, tokenizer) for key, split in splits.items()}
    if tokenizer.vocabulary is not None:
        vocabulary = tokenizer.vocabulary
    elif vocabulary_path is None:
        vocabulary = Vocabulary.build(texts["train"].words, min_count, character_fallback=character_fallback)
    else:
        vocabulary = Vocabulary.load(vocabulary_path)
    duplicates, groups = diagnose_duplicates(texts, scans, {} if profile is None else {name: profile[0]})
    split = splits[name]
    return [
        diagnose_pictures(splits, scans),
        diagnose_texts(texts, vocabulary, _terms(tokenizer), max_tokens),
        duplicates,
        diagnose_ceiling(name, groups[name], split.caption_to_image, profile),
        diagnose_power(name, split.num_images, None if profile is None else profile[0]),
    ]


def _read_texts(split: Split, tokenizer: CaptionTokenizer) -> Texts:
    """Tokenise the captions; equal words share one string, because a million captions have ten million words."""
    known: dict[str, str] = {}
    cleaned, words = [], []
    for caption in track_progress(split.captions, f"tokenising the captions of {split.name}"):
        cleaned.append(normalise_caption(caption))
        words.append([known.setdefault(word, word) for word in tokenizer(caption)])
    return Texts(split, cleaned, words)


def training_section(run: Path) -> Section:
    """Diagnose how a run trained.

    Args:
        run: Run folder.

    Raises:
        ConfigError: If the folder has no readable config or ledger.
    """
    config = read_run_config(run)
    try:
        loss, clip = config["loss"], config["trainer"]["gradient_clip_val"]
    except (KeyError, TypeError) as error:
        raise ConfigError(f"run={run.name}: {run / 'config.yaml'} is not the config of a run ({error})") from error
    return diagnose_training(run.name, _read_ledger(run), loss, clip)


def model_sections(
    matcher: TrainedMatcher, splits: Mapping[str, Split], scans: Mapping[str, FeatureScan], name: str
) -> list[Section]:
    """Score a split with a trained model and diagnose the scores.

    Args:
        matcher: Trained model.
        splits: Splits by name; one of them is ``train``.
        scans: Feature scan of each split.
        name: Split to score.

    Raises:
        CheckpointError: If model and split do not fit each other.
        DataFormatError: If the split has fewer than two images or captions.
    """
    split, scan, train = splits[name], scans[name], splits["train"]
    if min(split.num_images, split.num_captions) < 2:
        raise DataFormatError(
            f"{split.captions_path}: {split.num_images} image(s) and {split.num_captions} caption(s); recall needs at "
            "least 2 of each"
        )
    damaged = int((~undamaged(scan)).sum())
    if damaged:
        return [not_measured(name, damaged)]
    bank = None if split.fingerprint == train.fingerprint else undamaged_bank(train, scans["train"])
    scored = score_split(matcher, split, bank)
    return diagnose_model(matcher, scored, [matcher.tokenizer(caption) for caption in train.captions])


def run_profile(run: Path) -> list[float] | None:
    """Return the validation R@1, R@5 and R@10 of a run, if it was validated.

    Args:
        run: Run folder.

    Raises:
        ConfigError: If the folder has no readable ledger.
    """
    return profile_of(_read_ledger(run))


def find_best_checkpoint(run: Path, checkpoints: Path) -> Path | None:
    """Find ``best.ckpt`` of a run, below ``checkpoints`` or where its config says.

    Args:
        run: Run folder.
        checkpoints: ``paths.checkpoints`` of the command.

    Raises:
        ConfigError: If the folder has no readable config.
    """
    config = read_run_config(run)
    name, paths = config.get("name"), config.get("paths")
    own = paths.get("checkpoints") if isinstance(paths, dict) else None
    folders = [checkpoints, *([Path(own)] if isinstance(own, str) else [])]
    candidates = (folder / str(name) / run.name / "best.ckpt" for folder in folders)
    return next((path for path in candidates if path.is_file()), None)


def read_run_config(run: Path) -> dict[str, Any]:
    """Read the composed config of a run.

    Args:
        run: Run folder.

    Raises:
        ConfigError: If the file is missing or is not a mapping.
    """
    path = run / "config.yaml"
    try:
        return read_mapping(path, CONFIG)
    except (OSError, DataFormatError) as error:
        raise ConfigError(f"run={run.name}: {path} is not the config of a run ({error})") from error


def _terms(tokenizer: CaptionTokenizer) -> list[str]:
    """Words that the tokenizer should not split: Thangka terms, and the words of the user's dictionaries."""
    known = [entry.word for entry in domain_terms()] + [word for word, *_ in tokenizer.settings().get("words", ())]
    return [word for word in dict.fromkeys(map(normalise_caption, known)) if KEPT_WHOLE.fullmatch(word)]


def _read_ledger(run: Path) -> list[dict[str, Any]]:
    try:
        return read_ledger(run / "ledger.jsonl")
    except OSError as error:
        raise ConfigError(
            f"run={run.name}: {run / 'ledger.jsonl'} cannot be read ({error.strerror}); choose a run that has one"
        ) from error
