"""The diagnosis as one HTML page that needs nothing beside it: styles and charts inside, no script, no request."""

from collections.abc import Mapping, Sequence
from html import escape

from tangka_match.analysis.diagnosis.finding import SEVERITIES, Finding, Section, count, in_order
from tangka_match.analysis.html_page import html_page, resource

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
