"""Convert checkpoints of other programs to ours, or ours to the published SGRAF code.

python -m tangka_match.convert source=CHECKPOINT vocab=VOCABULARY out=CHECKPOINT [mapping=NAME|YAML] [to=sgraf]
python -m tangka_match.convert source=epoch_latest.pt clip=CHINESE_CLIP to=clip out=FOLDER
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig
from pydantic import ValidationError

from tangka_match.cli import check_is_new, command, read_settings, say
from tangka_match.errors import CheckpointError, ConfigError, DataFormatError, count
from tangka_match.files import written_completely
from tangka_match.settings import Settings, Text

if TYPE_CHECKING:
    from tangka_match.data.vocabulary import Vocabulary
    from tangka_match.retrieval.mapping import WeightMapping

TOKENIZER = "tangka_match.data.tokenizer.JiebaTokenizer"


class ConversionSettings(Settings):
    """Settings of a conversion; see ``conf/convert.yaml``."""

    source: Path
    vocab: Path | None
    clip: str | None
    text_model: Text | None
    mapping: Path | None
    out: Path
    to: Literal["tangka_match", "sgraf", "clip"]


def convert(config: DictConfig) -> None:
    """Write the converted checkpoint; for the published code, also its vocabulary.

    Raises:
        TangkaMatchError: On invalid settings, or if a file cannot be read or converted.
    """
    settings = read_settings(config, ConversionSettings, groups=("debug",))
    check_is_new(settings.out)
    written = {"sgraf": _to_published, "clip": _to_clip, "tangka_match": _to_ours}[settings.to](settings)
    say(f"written to   {', '.join(map(str, written))}")


def _to_published(settings: ConversionSettings) -> list[Path]:
    from tangka_match.data.vocabulary import CHARACTER_MARK, Vocabulary
    from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint
    from tangka_match.retrieval.published import to_published

    content = to_published(settings.source)
    words = settings.out.with_name(f"{content['opt'].data_name}_vocab.json")  # the published code expects it here
    check_is_new(words)
    vocabulary = Vocabulary.from_dict(read_checkpoint(settings.source)[METADATA_KEY]["vocabulary"])
    _save(content, settings.out)
    vocabulary.save_json(words)
    if vocabulary.num_characters:
        say(
            f"note         {count(vocabulary.num_characters, 'word')} of the vocabulary end in {CHARACTER_MARK}: "
            "characters that stand for unknown words here; the published code never uses them, and reads unknown words "
            "as <unk>",
            style="yellow",
        )
    return [settings.out, words]


def _to_clip(settings: ConversionSettings) -> list[Path]:
    from tangka_match.retrieval.chinese_clip_weights import write_model_folder

    if settings.clip is None:
        raise ConfigError(
            "clip is not set: give the folder or hub name of the Chinese-CLIP that source was fine-tuned from, such as "
            "OFA-Sys/chinese-clip-vit-base-patch16"
        )
    partial = settings.out.with_name(f".partial-{settings.out.name}")
    try:
        write_model_folder(settings.source, settings.clip, partial)
        partial.replace(settings.out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [settings.out]


def _to_ours(settings: ConversionSettings) -> list[Path]:
    from tangka_match.retrieval.chinese_clip_weights import is_chinese_clip
    from tangka_match.retrieval.foreign import from_foreign
    from tangka_match.retrieval.published import from_published, holds_sgraf
    from tangka_match.retrieval.safe_load import load_with_stand_ins

    source = settings.source
    content = load_with_stand_ins(source)[0]
    if settings.mapping is None and is_chinese_clip(content):
        raise CheckpointError(
            f"{source}: a checkpoint of the Chinese-CLIP training code; make a model folder of it with to=clip "
            "clip=<the Chinese-CLIP that it was fine-tuned from>, and give that folder to extract and train"
        )
    if settings.mapping is None and holds_sgraf(content):
        converted = from_published(source, _read_vocabulary(settings.vocab))
    else:
        name, mapping = _find_mapping(settings, content)
        arguments = mapping.arguments(source, content)
        if mapping.needs_text_model and settings.text_model is None:
            raise ConfigError(
                f"text_model is not set: {source} holds a model with a text encoder; give the folder or hub name of "
                "the encoder that it was fine-tuned from, such as bert-base-uncased: its pieces and config are read"
            )
        if settings.text_model is not None and not mapping.needs_text_model:
            raise ConfigError(
                f"text_model={settings.text_model}: {source} holds a model without a pretrained text encoder; remove it"
            )
        if settings.vocab is not None and mapping.needs_text_model:
            raise ConfigError(f"vocab={settings.vocab}: the words are the pieces of text_model; remove vocab")
        text_model = settings.text_model
        vocabulary = _read_vocabulary(settings.vocab) if text_model is None else None
        converted = from_foreign(source, vocabulary, text_model=text_model, **arguments)
        say(f"mapping      {name}")
    _save(converted, settings.out)
    return [settings.out]


def _find_mapping(settings: ConversionSettings, content: object) -> tuple[str, "WeightMapping"]:
    """Return the mapping that the user named, or the shipped one that fits the checkpoint.

    Raises:
        CheckpointError: If none fits; the message lists what the checkpoint holds.
    """
    from tangka_match.retrieval.foreign import describe_foreign
    from tangka_match.retrieval.mapping import fitting_mappings, shipped_mappings

    shipped = shipped_mappings()
    given = settings.mapping
    if given is not None:
        path = given if given.exists() else shipped.get(str(given), given)
        return str(given), read_mapping(path)
    mappings = {name: read_mapping(path) for name, path in shipped.items()}
    fitting = fitting_mappings(content, mappings)
    if (name := next((name for name, faults in fitting.items() if not faults), None)) is not None:
        return name, mappings[name]
    near = "".join(f"\nits weights fit mapping={name}, but {'; '.join(faults)}" for name, faults in fitting.items())
    raise CheckpointError(
        f"{settings.source}: not a checkpoint of the published SGRAF code, and none of the shipped mappings fits "
        f"({', '.join(shipped)}); write a file that maps its weights to ours and give it as mapping=<path> (see "
        f"conf/convert.yaml for an example). The checkpoint holds\n{describe_foreign(settings.source)}{near}"
    )


def read_mapping(path: Path) -> "WeightMapping":
    """Read a mapping file in YAML or JSON.

    Raises:
        ConfigError: If the file cannot be read, or if an entry is missing, unknown or of the wrong type.
    """
    from tangka_match.config.arguments import argument_faults
    from tangka_match.config.explain import describe_fault, raise_faults
    from tangka_match.records import saved_files
    from tangka_match.retrieval.mapping import WeightMapping, shipped_mappings

    try:
        content = saved_files.read_mapping(path)
    except (OSError, DataFormatError) as error:
        known = ", ".join(shipped_mappings())
        raise ConfigError(
            f"mapping={path}: cannot be read as YAML or JSON ({error}); give a file, or the name of a shipped mapping: "
            f"{known}"
        ) from error
    try:
        mapping = WeightMapping.model_validate(content)
    except ValidationError as error:
        known = ", ".join(WeightMapping.model_fields)
        faults = [
            f"{'.'.join(map(str, item['loc']))}: there is no such entry; known entries are {known}"
            if item["type"] == "extra_forbidden"
            else describe_fault(item, WeightMapping)
            for item in error.errors()
        ]
        raise ConfigError(f"mapping={path}:\n  " + "\n  ".join(faults)) from error
    raise_faults(argument_faults("tokenizer", {"_target_": TOKENIZER, **(mapping.tokenizer or {})}, set()))
    return mapping


def _read_vocabulary(path: Path | None) -> "Vocabulary":
    from tangka_match.data.vocabulary import Vocabulary

    if path is None:
        raise ConfigError("vocab is not set: give the vocabulary of the model's training, .json or .pkl")
    return Vocabulary.load(path)


def _save(content: dict[str, Any], out: Path) -> None:
    import torch

    with written_completely(out) as partial:
        torch.save(content, partial)


main = command("convert", convert)

if __name__ == "__main__":
    main()
