"""The model's part of a diagnosis: from settings to sections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tangka_match.analysis.diagnosis.feature_scan import FeatureScan
from tangka_match.analysis.diagnosis.finding import Section
from tangka_match.analysis.diagnosis.model.scored import score_split, undamaged, undamaged_bank
from tangka_match.analysis.diagnosis.model.section import diagnose_model, not_measured
from tangka_match.data.split import Split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.retrieval.trained_matcher import TrainedMatcher


def run_config(run: Path) -> dict[str, Any]:
    """The composed config of a run.

    Raises:
        ConfigError: If there is none that can be read.
    """
    path = run / "config.yaml"
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(plain, dict):
            raise TypeError(f"it holds {type(plain).__name__}")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise ConfigError(f"run={run.name}: {path} is not the config of a run ({error})") from error
    return plain


def best_of_run(run: Path, checkpoints: Path) -> Path | None:
    """``best.ckpt`` of a run, below ``checkpoints`` or where its config says; ``None`` where it has gone.

    Args:
        run: Folder of its records.
        checkpoints: ``paths.checkpoints`` of this command.
    """
    plain = run_config(run)
    name, paths = plain.get("name"), plain.get("paths")
    own = paths.get("checkpoints") if isinstance(paths, dict) else None
    folders = [checkpoints, *([Path(own)] if isinstance(own, str) else [])]
    found = (folder / str(name) / run.name / "best.ckpt" for folder in folders)
    return next((path for path in found if path.is_file()), None)


def model_sections(
    matcher: TrainedMatcher, splits: Mapping[str, Split], scans: Mapping[str, FeatureScan], name: str
) -> list[Section]:
    """Score a split and diagnose what comes out.

    Args:
        matcher: The model.
        splits: By name, ``train`` among them.
        scans: Of their features.
        name: Of the split to score.

    Raises:
        CheckpointError: If the model and the split do not fit each other.
        DataFormatError: If the split has one query alone.
    """
    split, scan, train = splits[name], scans[name], splits["train"]
    if min(split.num_images, split.num_captions) < 2:
        raise DataFormatError(
            f"{split.captions_path}: {split.num_images} image(s) and {split.num_captions} caption(s); with one query a "
            "recall means nothing: at least 2 of each are needed"
        )
    damaged = int((~undamaged(scan)).sum())
    if damaged:
        return [not_measured(name, damaged)]
    bank = None if split.fingerprint == train.fingerprint else undamaged_bank(train, scans["train"])
    scored = score_split(matcher, split, bank)
    return diagnose_model(matcher, scored, [matcher.tokenizer(caption) for caption in train.captions])
