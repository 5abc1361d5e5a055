"""The ``conf/`` folder: its path, and the names of its settings and options."""

import os
import re
from pathlib import Path

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
    """Collect the dotted names of all settings, from all files of all groups.

    Args:
        folder: Path of ``conf/``.
        config_name: Name of the primary config, without ``.yaml``.
    """
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
    return {key for key in keys if not HIDDEN.search(key)}


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
