"""The diagnosis as output: in the terminal, as one HTML page, and as ``diagnosis.json``."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tangka_match.analysis.diagnosis.finding import SEVERITIES, Finding, Section, in_order
from tangka_match.analysis.html_page import html_page, resource
from tangka_match.errors import ConfigError, count

STYLES = {"fault": "bold red", "warning": "bold yellow", "info": "bold blue"}


def print_diagnosis(console: Console, sections: Sequence[Section]) -> None:
    """Print what was measured as tables, then the findings as the page has them, the gravest first, then their tally.

    The tally names the faults once more: it is the last line, where the eye is when the command ends.

    Args:
        console: Where to.
        sections: In order.
    """
    for section in sections:
        table = Table(title=section.title, title_justify="left", show_header=False)
        for label, value in section.facts:
            table.add_row(Text(label), Text(value))
        console.print(table)
    findings = in_order([finding for section in sections for finding in section.findings])
    for finding in findings:
        points = "" if finding.points is None else f", up to {finding.points:.1f} points of R@1"
        heading = Text(f"{WORDS[finding.severity]}, {finding.code}{points}", style=STYLES[finding.severity])
        console.print(heading)
        console.print(Text(f"  {finding.seen}\n  Why: {finding.why}\n  Do: {finding.do}"))
    if all(finding.severity == "info" for finding in findings):
        console.print(Text(CLEAN, style="bold green"))
        return
    faults = ", ".join(finding.code for finding in findings if finding.severity == "fault")
    console.print(Text(", ".join(tally(findings).values()) + (f"; first see to {faults}" if faults else ""), "bold"))


WORDS = {"fault": "Fault", "warning": "Warning", "info": "Good to know"}
CLEAN = "Nothing found: no fault and no warning."
MOST_IDS = 200
"""Ids shown of a finding; ``diagnosis.json`` has all."""


def render_page(title: str, about: str, sections: Sequence[Section]) -> str:
    """Draw the page: first what was found, the gravest first, then what was measured, section by section.

    Args:
        title: Of the page.
        about: One line below it: what was looked at, and when.
        sections: In the order to show them.
    """
    where = {id(finding): section.title for section in sections for finding in section.findings}
    findings = in_order([finding for section in sections for finding in section.findings])
    cards = "".join(_card(finding, where[id(finding)]) for finding in findings)
    clean = "" if any(f.severity != "info" for f in findings) else f'<p class="clean">{CLEAN}</p>'
    body = (
        f'<main><h1>{escape(title)}</h1><p class="about">{escape(about)}</p>{_tally(findings)}{clean}{cards}'
        f"{''.join(_section(section) for section in sections)}</main>"
    )
    return html_page(title, body, resource("diagnosis/diagnosis.css"))


def counted(findings: Sequence[Finding]) -> Mapping[str, int]:
    """How many findings there are of each severity, gravest first."""
    return {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES}


def tally(findings: Sequence[Finding]) -> Mapping[str, str]:
    """How many findings there are of each severity, in words."""
    nouns = {"fault": "fault", "warning": "warning", "info": "note"}
    return {severity: count(number, nouns[severity]) for severity, number in counted(findings).items()}


def _tally(findings: Sequence[Finding]) -> str:
    items = (f'<li style="color:var(--{severity})">{told}</li>' for severity, told in tally(findings).items())
    return f'<ul class="tally">{"".join(items)}</ul>'


def _card(finding: Finding, where: str) -> str:
    points = "" if finding.points is None else f'<span class="points">up to {finding.points:.1f} points of R@1</span>'
    rows = (("Seen", finding.seen), ("Why", finding.why), ("Do", finding.do))
    listed = "".join(f"<dt>{label}</dt><dd>{escape(text)}</dd>" for label, text in rows)
    ids = ""
    if finding.ids:
        more = len(finding.ids) - MOST_IDS
        shown = ", ".join(finding.ids[:MOST_IDS]) + (f" and {more:,} more, in diagnosis.json" if more > 0 else "")
        ids = f'<details><summary>{count(len(finding.ids), "id")}</summary><p class="ids">{escape(shown)}</p></details>'
    return (
        f'<article class="card {finding.severity}"><header><span class="badge">{WORDS[finding.severity]}</span>'
        f'<span class="code">{escape(finding.code)}</span><span class="where">{escape(where)}</span>{points}</header>'
        f"<dl>{listed}</dl>{ids}</article>"
    )


def _section(section: Section) -> str:
    rows = "".join(f"<tr><td>{escape(label)}</td><td>{escape(value)}</td></tr>" for label, value in section.facts)
    charts = f'<div class="charts">{"".join(section.charts)}</div>' if section.charts else ""
    table = f'<table class="facts">{rows}</table>' if rows else ""
    return (
        f'<h2>{escape(section.title)}</h2><div class="section">{table}{charts}{"".join(section.blocks)}</div>'
        if table or charts or section.blocks
        else ""
    )


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
