"""From a composed config to a converted checkpoint."""

from pathlib import Path

import torch
from omegaconf import DictConfig

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError
from tangka_match.retrieval.published import from_published, to_published

FORMATS = ("tangka_match", "sgraf")


def convert(config: DictConfig) -> Path:
    """Write the checkpoint that ``config`` asks for.

    Returns:
        Where it is.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    out = Path(config.out)
    if config.to not in FORMATS:
        raise ConfigError(f"to={config.to!r}: give one of {', '.join(FORMATS)}")
    if out.exists():
        raise ConfigError(f"out={out} exists, and nothing is overwritten: give another path")
    if config.to == "sgraf":
        content = to_published(Path(config.source))
    elif config.vocab is None:
        raise ConfigError("vocab is not set: give the vocabulary that the model was trained with, .json or .pkl")
    else:
        content = from_published(Path(config.source), Vocabulary.load(config.vocab))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f"{out.name}.partial")
    torch.save(content, partial)
    partial.replace(out)
    return out
