"""The ``conf/`` folder: its path, and the names of its settings and options."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

PACKAGE = Path(__file__).resolve().parents[1]
CONF_VARIABLE = "TANGKA_MATCH_CONF"

# Not settings of ours; the keys of a study's search space are names of other settings.
HIDDEN = re.compile(r"(^|\.)(defaults|_\w+)(\.|$)|^hydra\b|^sweep\.space\.")


def conf_dir() -> str:
    """Return the absolute path of ``conf/``: in the checkout or in the installed wheel.

    The environment variable ``TANGKA_MATCH_CONF`` overrides it.
    """
    if CONF_VARIABLE in os.environ:
        return str(Path(os.environ[CONF_VARIABLE]).resolve())
    checkout = PACKAGE.parents[1]
    if (checkout / "pyproject.toml").is_file() and (checkout / "conf" / "config.yaml").is_file():
        return str(checkout / "conf")
    return str(PACKAGE / "conf")


def known_keys(folder: Path, config_name: str) -> set[str]:
    """Collect the dotted names of all settings of a command, from all files of the groups in its defaults list.

    Args:
        folder: Path of ``conf/``.
        config_name: Name of the primary config, without ``.yaml``.
    """
    keys: set[str] = set()
    defaults = _content(folder / f"{config_name}.yaml").get("defaults", [])
    groups = {next(iter(entry)) for entry in defaults if isinstance(entry, dict)}
    for path in folder.rglob("*.yaml"):
        group = path.relative_to(folder).parent.as_posix()
        if group == "." and path.stem == config_name:
            keys |= _flat(_content(path), "")
        elif group.partition("/")[0] in groups:
            keys |= _flat(_content(path), group.replace("/", ".") + ".") | {group}
    return {key for key in keys if not HIDDEN.search(key)}


def options_with(folder: Path, key: str) -> tuple[str, list[str]]:
    """Return the group of a setting, and its options that have the setting, also by inheritance.

    Args:
        folder: Path of ``conf/``.
        key: Dotted name of the setting.
    """
    parts = key.split(".")
    depth = max(n for n in range(len(parts)) if folder.joinpath(*parts[:n]).is_dir())
    place, name = folder.joinpath(*parts[:depth]), ".".join(parts[depth:])
    found = {path.stem for path in place.glob("*.yaml") if name in _flat(_content(path), "")}
    heirs = {path.stem for path in place.glob("*.yaml") if found & set(map(str, _content(path).get("defaults", [])))}
    return "/".join(parts[:depth]), sorted((found | heirs) & set(group_options(place)))


def _content(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def group_options(folder: Path) -> list[str]:
    """List the options of a config group, such as ``vse`` of ``model``.

    Args:
        folder: Path of the group.
    """
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "base")


def _flat(node: object, prefix: str) -> set[str]:
    if not isinstance(node, dict):
        return set()
    keys = set()
    for key, value in node.items():
        keys |= {f"{prefix}{key}"} | _flat(value, f"{prefix}{key}.")
    return keys
