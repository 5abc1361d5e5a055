"""From a composed config to a converted checkpoint."""

from pathlib import Path
from typing import Annotated, Any

import torch
import yaml
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tangka_match.config.arguments import argument_faults
from tangka_match.config.check import describe_fault, raise_faults
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.retrieval.foreign import describe_foreign, from_foreign
from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint
from tangka_match.retrieval.published import from_published, is_published, to_published
from tangka_match.retrieval.safe_load import load_with_stand_ins

TOKENIZER = "tangka_match.data.tokenizer.JiebaTokenizer"
FORMATS = ("tangka_match", "sgraf")


class WeightMapping(BaseModel):
    """A mapping file: which model of ours, and which of its weights each of theirs is; see ``from_foreign``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: dict[str, Any]
    weights: dict[str, str | None]
    num_regions: Annotated[int, Field(ge=1)]
    feature_dim: Annotated[int, Field(ge=1)]
    state: str = "model_state_dict"
    tokenizer: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=3)] = 80


def convert(config: DictConfig) -> list[Path]:
    """Write the checkpoint that ``config`` asks for, and for the published code its vocabulary beside it.

    Returns:
        Where they are.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    out, source = Path(config.out), Path(config.source)
    if config.to not in FORMATS:
        raise ConfigError(f"to={config.to!r}: give one of {', '.join(FORMATS)}")
    _refuse_to_overwrite(out)
    if config.to == "sgraf":
        content = to_published(source)
        words = out.with_name(f"{content['opt'].data_name}_vocab.json")  # where the published code looks for it
        _refuse_to_overwrite(words)
        _write(content, out)
        Vocabulary.from_dict(read_checkpoint(source)[METADATA_KEY]["vocabulary"]).save_json(words)
        return [out, words]
    if config.mapping is not None:
        mapping = dict(read_mapping(Path(config.mapping)))
        _write(from_foreign(source, _vocabulary(config.vocab), **mapping), out)
    elif is_published(load_with_stand_ins(source)[0]):
        _write(from_published(source, _vocabulary(config.vocab)), out)
    else:
        raise CheckpointError(
            f"{source}: not a checkpoint of the published SGRAF; write down what its weights are here, and give that "
            f"file as mapping=<path> (conf/convert.yaml shows one). It holds\n{describe_foreign(source)}"
        )
    return [out]


def read_mapping(path: Path) -> WeightMapping:
    """Read a mapping file, YAML or JSON.

    Raises:
        ConfigError: If it cannot be read, or an entry is missing, unknown or of the wrong kind.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"mapping={path}: cannot be read as YAML or JSON ({error})") from error
    try:
        mapping = WeightMapping.model_validate(content)
    except ValidationError as error:
        known = ", ".join(WeightMapping.model_fields)
        faults = [
            f"{'.'.join(map(str, item['loc']))}: there is no such entry; known are {known}"
            if item["type"] == "extra_forbidden"
            else describe_fault(item)
            for item in error.errors()
        ]
        raise ConfigError(f"mapping={path}:\n  " + "\n  ".join(faults)) from error
    raise_faults(argument_faults("tokenizer", {"_target_": TOKENIZER, **(mapping.tokenizer or {})}, set()))
    return mapping


def _vocabulary(path: str | None) -> Vocabulary:
    if path is None:
        raise ConfigError("vocab is not set: give the vocabulary that the model was trained with, .json or .pkl")
    return Vocabulary.load(path)


def _refuse_to_overwrite(path: Path) -> None:
    if path.exists():
        raise ConfigError(f"out: {path} exists, and nothing is overwritten: give another path")


def _write(content: dict[str, Any], out: Path) -> None:
    """Write a file that is complete or not there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".partial-{out.name}")
    torch.save(content, partial)
    partial.replace(out)
