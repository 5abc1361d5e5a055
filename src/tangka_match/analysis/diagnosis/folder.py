"""What a diagnosis leaves behind: ``diagnosis.json`` and ``diagnosis.html``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tangka_match.analysis.diagnosis.finding import Section
from tangka_match.analysis.diagnosis.page import counted, render_page
from tangka_match.errors import ConfigError

FILES = ("diagnosis.html", "diagnosis.json")


def check_out(folder: Path) -> None:
    """Make sure that a diagnosis may be written to a folder: a new one, or that of an earlier diagnosis.

    Raises:
        ConfigError: If it is a file, or holds anything else.
    """
    others = sorted({path.name for path in folder.iterdir()} - set(FILES)) if folder.is_dir() else []
    if others or (folder.exists() and not folder.is_dir()):
        found = f"holds {', '.join(others[:3])}" if others else "is a file"
        raise ConfigError(f"out={folder} {found}; nothing is overwritten: give a new folder, or that of a diagnosis")


def write_diagnosis(folder: Path, title: str, about: Mapping[str, Any], sections: Sequence[Section]) -> None:
    """Write both files.

    Args:
        folder: Made when missing.
        title: Of the page.
        about: What was looked at, as plain values; they stand in both files.
        sections: In the order to show them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    findings = [finding for section in sections for finding in section.findings]
    content = {
        **about,
        "counts": counted(findings),
        "sections": {section.name: section.to_dict() for section in sections},
    }
    line = " · ".join(f"{name} {value}" for name, value in about.items() if value is not None)
    page = render_page(title, line, sections)
    for name, text in zip(FILES, (page, json.dumps(content, ensure_ascii=False, indent=1) + "\n"), strict=True):
        partial = folder / f".partial-{name}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
