"""Explain a user's error in one message, with a suggestion for a misspelt name."""

import difflib
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import InterpolationKeyError, InterpolationToMissingValueError, MissingMandatoryValue
from yaml import YAMLError

from tangka_match.config.chosen_files import explain_yaml
from tangka_match.config.conf_folder import conf_dir, group_options, known_keys, options_with
from tangka_match.config.quoting import quoted_for_the_shell
from tangka_match.errors import ConfigError, TangkaMatchError

if TYPE_CHECKING:
    from pydantic import BaseModel

# torch puts this before the message of an error in a data loading process.
WORKER_TRACEBACK = re.compile(
    r"\ACaught \w+ in DataLoader worker .*^tangka_match\.errors\.\w+: ", re.DOTALL | re.MULTILINE
)
UNKNOWN_KEY = re.compile(r"Could not (?:override|delete from config\.?|append to config\.?) ?'?([\w./@]+)'?")
AMBIGUOUS = re.compile(r"Ambiguous value for argument '(.*)'$", re.MULTILINE)
ALREADY_SET = re.compile(r"An item is already at '([^']+)'")
NEEDS_MULTIRUN = re.compile(r"Sweep parameters '(.*)' requires --multirun", re.DOTALL)
SEVERAL_VALUES = (
    "several values need -m, which runs each of them; an interval needs -m hydra/sweeper=study, which searches it"
)
UNKNOWN_SETTING = ("extra_forbidden", "unexpected_keyword_argument")
"""Types of pydantic's errors for a field that a model or dataclass does not have."""


def explain(error: Exception, config_name: str) -> str:
    """Describe an error in one message: the file or setting, the value found, what is allowed, what to do.

    Args:
        error: Error of ours, of Hydra, of OmegaConf or of YAML.
        config_name: Name of the primary config, without ``.yaml``.
    """
    if isinstance(error, TangkaMatchError):
        return WORKER_TRACEBACK.sub("", str(error))
    return explain_yaml(error) if isinstance(error, YAMLError) else _composition_error(error, config_name)


def _composition_error(error: Exception, config_name: str) -> str:
    text = str(error)
    if isinstance(error, MissingConfigException):
        return _missing_file(error)
    ambiguous = AMBIGUOUS.search(text)
    if ambiguous or isinstance(error, OverrideParseException):
        return _unreadable_override(ambiguous[1] if ambiguous else str(getattr(error, "override", "")))
    if isinstance(error, MissingMandatoryValue) or "Missing mandatory value" in text:
        # For an interpolation, full_key is the setting that refers to the missing one.
        full_key = None if isinstance(error, InterpolationToMissingValueError) else getattr(error, "full_key", None)
        key = full_key or _missing_key(text)
        return f"{key} is not set: add {key}=<value> to the command"
    if isinstance(error, InterpolationKeyError):
        return text.splitlines()[0]
    return _composed_error(text, config_name)


def _composed_error(text: str, config_name: str) -> str:
    """Describe an error of Hydra that is known by its text only."""
    if match := ALREADY_SET.search(text):
        return f"+{match[1]}: the config has this setting already; write {match[1]}=<value> without +"
    if match := UNKNOWN_KEY.search(text):
        return _unknown_key(match[1].rstrip("."), config_name)
    return NEEDS_MULTIRUN.sub(r"\1: " + SEVERAL_VALUES, text.strip())


def _unreadable_override(override: str) -> str:
    """Describe an override whose value Hydra cannot read, with the quoting that makes it text."""
    name, equals, value = override.partition("=")
    text = f"{override}: cannot be read as a setting; write name=value, and lists as 'name=[a,b]' in quotes"
    if not equals or not value or value.startswith(("[", "{", "'", '"')) or not re.fullmatch(r"[+~\w./@-]+", name):
        return text
    sweep = f", and a sweep with -m {name}=a,b" if "," in value else ""
    return (
        f"{override}: the value holds characters with a meaning to Hydra (= , # ' [ ] {{ }} ( ) : ~); as text, write\n"
        f"  {quoted_for_the_shell(override)}\nand a list as 'name=[a,b]' in quotes{sweep}"
    )


def nearest(name: str, known: list[str], part: str | None = None, cutoff: float = 0.6) -> str:
    """Suggest a known name, as in `` Did you mean margin?``, or return an empty string.

    Args:
        name: Name as the user wrote it.
        known: Names to choose from.
        part: Last part of ``name``, to be compared with the last part of each known name.
        cutoff: Minimum similarity of a suggested name, in [0, 1].

    >>> nearest("margni", ["margin", "temperature"])
    ' Did you mean margin?'
    >>> nearest("model.margni", ["loss.margin", "model.dropout"], part="margni")
    ' Did you mean loss.margin?'
    >>> nearest("zzz", ["margin"])
    ''
    """
    compared = {k: k.rpartition(".")[2] if part else k for k in known}
    close = difflib.get_close_matches(part or name, compared.values(), n=2, cutoff=cutoff)
    meant = [k for text in dict.fromkeys(close) for k in known if compared[k] == text]
    return f" Did you mean {' or '.join(meant[:2])}?" if meant else ""


_USUAL_NAMES = {
    "learning_rate": "optimizer.lr",
    "lr": "optimizer.lr",
    "epochs": "trainer.max_epochs",
    "num_epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "workers": "data.num_workers",
    "task_name": "name",
    "data_dir": "data.root",
    "data.data_dir": "data.root",
    "data_path": "data.root",
    "paths.data_dir": "paths.data",
    "paths.output_dir": "paths.runs",
    "paths.log_dir": "paths.runs",
    "model.optimizer.lr": "optimizer.lr",
    "model.lr": "optimizer.lr",
    "trainer.gpus": "trainer.devices",
}
"""Names that other programs use -> our settings."""
_FORMER_NAMES = {("extract", "clip"): "encoder"}
"""Command and a setting that it had -> name of the setting now."""
_OTHER_WAYS = {
    "ckpt_path": "continue a run with resume=<run id>, start from its weights with init_from=<best.ckpt>, or measure "
    "it with python -m tangka_match.evaluate checkpoint=<best.ckpt>",
    "hparams_search": "search with -m hydra/sweeper=study sweep=<name>; see docs/sweeps.md",
    "train": "this command always trains; measure a checkpoint with python -m tangka_match.evaluate",
    "test": "measure a checkpoint with python -m tangka_match.evaluate checkpoint=<best.ckpt> split=test",
    "optimized_metric": "the best epoch is chosen by training.monitor, a study by val/mean_r1",
    "extras": "warnings and the printed config are not settings here; see the config with --cfg job",
}
"""Arguments of lightning-hydra-template -> what to write here."""


def _command(config_name: str) -> str:
    """Return the command that a top-level config belongs to."""
    return "train" if config_name == "config" else config_name


def _missing_file(error: MissingConfigException) -> str:
    wanted = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = wanted.rpartition("/")
    options = sorted(error.options or [])
    if not group or not options:
        return str(error).splitlines()[0]
    return f"{group}={name}: there is no conf/{wanted}.yaml.{nearest(name, options)} Allowed: {', '.join(options)}"


def _unknown_key(key: str, config_name: str) -> str:
    folder = Path(conf_dir())
    if (folder / key).is_dir():
        return (
            f"{key} is not in the defaults list: write +{key}=<name>. Allowed: {', '.join(group_options(folder / key))}"
        )
    known = sorted(known_keys(folder, config_name))
    if config_name == "config" and (way := _OTHER_WAYS.get(key.partition(".")[0])):
        return f"{key}: there is no such setting; {way}"
    parent, _, leaf = key.rpartition(".")
    if config_name == "config" and key in _USUAL_NAMES:
        return f"{key}: there is no such setting. Did you mean {_USUAL_NAMES[key]}?"
    if config_name == "config" and parent == "trainer" and (said := _trainer_argument(leaf)):
        return said
    if config_name == "config" and key in known and (said := _in_other_options(key, folder)):
        return said
    known = [name for name in known if name != key]  # it exists, but not in this command
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent]
    return f"{key}: there is no such setting.{_similar(key, known, siblings, config_name)}"


def _similar(key: str, known: list[str], siblings: list[str], config_name: str) -> str:
    """Suggest a setting with a similar name, and list those of the same group."""
    parent, _, leaf = key.rpartition(".")
    if not parent or not siblings:
        former = _FORMER_NAMES.get((config_name, key))
        listed = f" All settings: python -m tangka_match.{_command(config_name)} --help"
        return (
            (former and f" It is called {former}: write {former}=<value>")
            or nearest(key, known)
            or nearest(key, known, part=leaf)
            or listed
        )
    hint = nearest(key, [f"{parent}.{name}" for name in siblings], part=leaf) or nearest(
        key, known, part=leaf, cutoff=0.8
    )
    return f"{hint} Known in {parent}: {', '.join(siblings)}"


def _in_other_options(key: str, folder: Path) -> str:
    """Explain a setting that the chosen option of its group lacks; empty if no option has it."""
    group, options = options_with(folder, key)
    if not options:
        return ""
    listed = ", ".join(f"{group}={option}" for option in options)
    return f"{key}: the chosen {group} has no such setting; leave it out, or choose one that has it: {listed}"


def _trainer_argument(name: str) -> str:
    """Explain an argument of Lightning's ``Trainer`` that is not in ``conf/trainer``; empty if there is none."""
    from tangka_match.training.trainer import ALLOWED_ARGUMENTS, REFUSED_ARGUMENTS  # noqa: PLC0415 (imports torch)

    if name in REFUSED_ARGUMENTS:
        return f"trainer.{name} cannot be set: {REFUSED_ARGUMENTS[name]}"
    return f"trainer.{name} is not in conf/trainer: write +trainer.{name}=<value>" if name in ALLOWED_ARGUMENTS else ""


def _missing_key(text: str) -> str:
    found = re.search(r"Missing mandatory value: ([\w.]+)|full_key: ([\w.]+)", text)
    return next((g for g in found.groups() if g), "a setting") if found else "a setting"


def raise_faults(faults: list[str]) -> None:
    """Raise one ``ConfigError`` that lists all faults, each once, if there are any."""
    if faults:
        listed = "\n  ".join(dict.fromkeys(faults))
        raise ConfigError(f"the settings contradict each other or are out of range:\n  {listed}")


def describe_fault(item: Any, kind: "type[BaseModel]") -> str:
    """Describe an error of pydantic as the other checks do.

    Args:
        item: One of ``ValidationError.errors()``.
        kind: Model that the settings did not fit.
    """
    name = ".".join(str(part) for part in item["loc"])
    if item["type"] in UNKNOWN_SETTING:
        return f"{name}: there is no such setting.{nearest(item['loc'][-1], _siblings(kind, item['loc']))}"
    if item["type"] == "missing":
        return f"{name} is missing: its default has been removed from the config; set {name}=<value>"
    if item["type"] == "value_error":
        text = str(item["ctx"]["error"])
        return text if not name or text.startswith(f"{name}.") else f"{name}: {text}"
    return f"{name}={item['input']!r}: {item['msg']}"


def _siblings(kind: "type[BaseModel]", location: tuple[str | int, ...]) -> list[str]:
    group: Any = kind
    for part in location[:-1]:
        group = group.model_fields[str(part)].annotation
    return [field.name for field in fields(group)] if is_dataclass(group) else list(group.model_fields)
