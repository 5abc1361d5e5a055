"""Explains what Hydra or OmegaConf found wrong with a command line, and suggests the nearest name."""

import difflib
import re
from pathlib import Path

import yaml
from hydra.errors import MissingConfigException
from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue

from tangka_match.config.location import conf_dir

UNKNOWN_KEY = re.compile(r"Could not (?:override|delete from config\.?|append to config\.?) ?'?([\w./@]+)'?")


def explain(error: Exception, config_name: str) -> str:
    """One message for a composition error: the setting, what was found, what is allowed, what to do.

    Args:
        error: As Hydra or OmegaConf raised it.
        config_name: Of the primary config.
    """
    text = str(error)
    if isinstance(error, MissingConfigException):
        return _missing_file(error)
    if isinstance(error, MissingMandatoryValue) or "Missing mandatory value" in text:
        key = getattr(error, "full_key", None) or _quoted(text)
        return f"{key} is not set: add {key}=<value> to the command"
    if isinstance(error, InterpolationKeyError):
        return text.splitlines()[0]
    if match := UNKNOWN_KEY.search(text):
        return _unknown_key(match.group(1).rstrip("."), config_name)
    return text.strip()


def nearest(name: str, known: list[str]) -> str:
    """A suggestion such as `` Did you mean margin?``, or an empty string.

    >>> nearest("margni", ["margin", "temperature"])
    ' Did you mean margin?'
    >>> nearest("zzz", ["margin"])
    ''
    """
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


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
        return f"{key} is not in the defaults list: write +{key}=<name>. Allowed: {', '.join(_files(folder / key))}"
    known = sorted(known_keys(folder, config_name))
    parent, _, leaf = key.rpartition(".")
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent]
    hint = nearest(leaf, siblings) or nearest(key, known)
    where = f" in {parent}" if parent else ""
    allowed = f" Known{where}: {', '.join(siblings)}." if siblings else ""
    return f"{key}: there is no such setting.{hint}{allowed} (+{key}=<value> would add it.)"


def known_keys(folder: Path, config_name: str) -> set[str]:
    """Dotted names of the settings in ``conf/``, over all files of all groups."""
    keys: set[str] = set()
    for path in folder.rglob("*.yaml"):
        group = path.relative_to(folder).parent.as_posix()
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if group == "experiment":
            continue
        if group == ".":
            if path.stem == config_name:
                keys |= _flat(content, "")
        else:
            keys |= _flat(content, group.replace("/", ".") + ".") | {group}
    return {key for key in keys if "defaults" not in key and not key.startswith("hydra")}


def _flat(node: object, prefix: str) -> set[str]:
    if not isinstance(node, dict):
        return set()
    keys = set()
    for key, value in node.items():
        keys |= {f"{prefix}{key}"} | _flat(value, f"{prefix}{key}.")
    return keys


def _files(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "base")


def _quoted(text: str) -> str:
    found = re.search(r"Missing mandatory value: ([\w.]+)|full_key: ([\w.]+)", text)
    return next((g for g in found.groups() if g), "a setting") if found else "a setting"
