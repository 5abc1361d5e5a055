"""Output of a diagnosis: terminal, HTML page, and ``diagnosis.json``."""

import json
import re
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
from tangka_match.files import write_text_completely

FILES = ("diagnosis.html", "diagnosis.json")
PAIR_FILES = ("pairs.html", "pairs.csv")
"""Further files of a diagnosis of a cross-validation."""
SEVERITY_LABELS = {"fault": "Fault", "warning": "Warning", "info": "Info"}
STYLES = {"fault": "bold red", "warning": "bold yellow", "info": "bold blue"}
NO_PROBLEMS = "No faults and no warnings."
MAX_IDS = 200
"""Most ids shown per finding on the page; ``diagnosis.json`` has all."""
BRIEF_LINES = 10
"""Most lines of a brief diagnosis."""
CLAUSE_END = re.compile(r"[:;.] ")
MIN_TITLE = 20
"""Fewest characters of the title of a finding."""


def check_out(folder: Path) -> None:
    """Check that a diagnosis may be written to a folder: a new one, or that of an earlier diagnosis.

    Raises:
        ConfigError: If ``folder`` is a file, or contains other files.
    """
    others = sorted({path.name for path in folder.iterdir()} - {*FILES, *PAIR_FILES}) if folder.is_dir() else []
    if others or (folder.exists() and not folder.is_dir()):
        found = f"holds {', '.join(others[:3])}" if others else "is a file"
        raise ConfigError(f"out={folder} {found}; nothing is overwritten: choose a new folder, or that of a diagnosis")


def print_diagnosis(console: Console, sections: Sequence[Section]) -> None:
    """Print the measurements as tables, then the findings by severity, then the counts.

    The last line repeats the codes of the faults, since the end of the output is what users see first.

    Args:
        console: Console to print to.
        sections: Sections, in order.
    """
    for section in sections:
        table = Table(title=section.title, title_justify="left", show_header=False)
        for label, value in section.facts:
            table.add_row(Text(label), Text(value))
        console.print(table)
    findings = in_order([finding for section in sections for finding in section.findings])
    for finding in findings:
        points = "" if finding.points is None else f", up to {finding.points:.1f} points of R@1"
        heading = f"{SEVERITY_LABELS[finding.severity]}, {finding.code}{points}"
        console.print(Text(heading, style=STYLES[finding.severity]))
        console.print(Text(f"  {finding.seen}\n  Why it matters: {finding.why}\n  What to do: {finding.do}"))
    if all(finding.severity == "info" for finding in findings):
        console.print(Text(NO_PROBLEMS, style="bold green"))
        return
    faults = ", ".join(finding.code for finding in findings if finding.severity == "fault")
    console.print(Text(", ".join(tally(findings).values()) + (f"; fix first: {faults}" if faults else ""), "bold"))


def brief(sections: Sequence[Section], lines: int = BRIEF_LINES) -> list[str]:
    """Return the counts and the most severe findings, one line each.

    Args:
        sections: Sections, in order.
        lines: Most lines.

    >>> found = Finding("leak", "fault", "4 of 363 images of val are in train: 1, 2, 3", "", "")
    >>> brief([Section("a", "A", [], [found])])
    ['diagnosis    1 fault, 0 warnings, 0 notes', 'fault        leak: 4 of 363 images of val are in train']
    """
    findings = in_order([finding for section in sections for finding in section.findings])
    shown = findings if len(findings) < lines else findings[: lines - 2]
    more = [] if len(shown) == len(findings) else [f"and {count(len(findings) - len(shown), 'finding')} more"]
    titles = [f"{finding.severity:12} {finding.code}: {_split_title(finding.seen)[0]}" for finding in shown]
    return [f"diagnosis    {', '.join(tally(findings).values())}", *titles, *more]


def write_diagnosis(folder: Path, title: str, about: Mapping[str, Any], sections: Sequence[Section]) -> None:
    """Write ``diagnosis.html`` and ``diagnosis.json``.

    Args:
        folder: Output folder, created if missing.
        title: Title of the page.
        about: Description of the input as plain values, included in both files.
        sections: Sections, in display order.
    """
    findings = [finding for section in sections for finding in section.findings]
    content = {
        **about,
        "counts": count_severities(findings),
        "sections": {section.name: section.to_dict() for section in sections},
    }
    line = " · ".join(f"{name} {value}" for name, value in about.items() if value is not None)
    page = render_page(title, line, sections)
    for name, text in zip(FILES, (page, json.dumps(content, ensure_ascii=False, indent=1) + "\n"), strict=True):
        write_text_completely(folder / name, text)


def render_page(title: str, about: str, sections: Sequence[Section]) -> str:
    """Render the page: all findings by severity, then the measurements section by section.

    Args:
        title: Title of the page.
        about: Line below the title that describes the input.
        sections: Sections, in display order.
    """
    where = {id(finding): section.title for section in sections for finding in section.findings}
    findings = in_order([finding for section in sections for finding in section.findings])
    cards = "".join(_card(finding, where[id(finding)]) for finding in findings)
    clean = "" if any(f.severity != "info" for f in findings) else f'<p class="clean">{NO_PROBLEMS}</p>'
    body = (
        f'<main><h1>{escape(title)}</h1><p class="about">{escape(about)}</p>{_tally(findings)}{clean}{cards}'
        f"{''.join(_section(section) for section in sections)}</main>"
    )
    return html_page(title, body, resource("diagnosis/diagnosis.css"))


def count_severities(findings: Sequence[Finding]) -> Mapping[str, int]:
    """Count the findings of each severity, most severe first."""
    return {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES}


def tally(findings: Sequence[Finding]) -> Mapping[str, str]:
    """Format the number of findings of each severity, such as ``2 warnings``."""
    nouns = {"fault": "fault", "warning": "warning", "info": "note"}
    return {severity: count(number, nouns[severity]) for severity, number in count_severities(findings).items()}


def _tally(findings: Sequence[Finding]) -> str:
    items = (f'<li style="color:var(--{severity})">{text}</li>' for severity, text in tally(findings).items())
    return f'<ul class="tally">{"".join(items)}</ul>'


def _card(finding: Finding, where: str) -> str:
    points = "" if finding.points is None else f'<span class="points">up to {finding.points:.1f} points of R@1</span>'
    title, detail = _split_title(finding.seen)
    rows = (("Why it matters", finding.why), ("What to do", finding.do))
    listed = "".join(f"<dt>{label}</dt><dd>{escape(text)}</dd>" for label, text in rows)
    ids = ""
    if finding.ids:
        more = len(finding.ids) - MAX_IDS
        shown = ", ".join(finding.ids[:MAX_IDS]) + (f" and {more:,} more, in diagnosis.json" if more > 0 else "")
        ids = f'<details><summary>{count(len(finding.ids), "id")}</summary><p class="ids">{escape(shown)}</p></details>'
    return (
        f'<article class="card {finding.severity}"><header>'
        f'<span class="badge">{SEVERITY_LABELS[finding.severity]}</span>'
        f'<span class="code">{escape(finding.code)}</span><span class="where">{escape(where)}</span>{points}</header>'
        f'<p class="seen"><b>{escape(title)}</b>{escape(detail)}</p><dl>{listed}</dl>{ids}</article>'
    )


def _split_title(seen: str) -> tuple[str, str]:
    """Split an observation after its first clause, which becomes the title of the card.

    >>> _split_title("4 of 363 images of val are also in train: dev-1 = train 7")
    ('4 of 363 images of val are also in train', ': dev-1 = train 7')
    """
    end = CLAUSE_END.search(seen, MIN_TITLE)
    return (seen, "") if end is None else (seen[: end.start()], seen[end.start() :])


def _section(section: Section) -> str:
    rows = "".join(f"<tr><td>{escape(label)}</td><td>{escape(value)}</td></tr>" for label, value in section.facts)
    charts = f'<div class="charts">{"".join(section.charts)}</div>' if section.charts else ""
    table = f'<table class="facts">{rows}</table>' if rows else ""
    content = f"{table}{charts}{''.join(section.blocks)}"
    return f'<h2>{escape(section.title)}</h2><div class="section">{content}</div>' if content else ""
