"""The diagnosis as one HTML page that needs nothing beside it: styles and charts inside, no script, no request."""

from collections.abc import Mapping, Sequence
from html import escape

from tangka_match.analysis.diagnosis.finding import SEVERITIES, Finding, Section, count, in_order

WORDS = {"fault": "Fault", "warning": "Warning", "info": "Good to know"}
CLEAN = "Nothing found: no fault and no warning."
MOST_IDS = 200
"""Ids shown of a finding; ``diagnosis.json`` has all."""

# The fonts are those of Chinese systems first, so that no character falls back to a box where one is installed.
_STYLE = """
:root { --ink:#1d2330; --soft:#5c6577; --line:#e2e5ec; --paper:#fff; --ground:#f4f5f8;
  --fault:#b3261e; --warning:#a15c00; --info:#2a5db0; --good:#1a7f4b;
  --c1:#2a5db0; --c2:#d1701c; --c3:#1a7f4b; --c4:#8a3fa0; }
* { box-sizing:border-box }
body { margin:0; background:var(--ground); color:var(--ink); line-height:1.55; font-size:16px;
  font-family:system-ui,-apple-system,"Segoe UI","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",
  "Source Han Sans SC","WenQuanYi Micro Hei",sans-serif }
main { max-width:1120px; margin:0 auto; padding:32px 24px 64px }
h1 { font-size:28px; margin:0 0 4px; line-height:1.25 } h2 { font-size:20px; margin:44px 0 12px }
.about { color:var(--soft); margin:0 0 20px; overflow-wrap:anywhere }
.tally { display:flex; flex-wrap:wrap; gap:10px; margin:0 0 20px; padding:0; list-style:none }
.tally li { background:var(--paper); border:1px solid var(--line); border-radius:999px; padding:4px 14px;
  font-weight:600 }
.clean { background:var(--paper); border-left:5px solid var(--good); border-radius:8px; padding:16px 20px;
  font-weight:600 }
.card { background:var(--paper); border:1px solid var(--line); border-left:5px solid var(--tone); border-radius:8px;
  padding:16px 20px; margin:0 0 14px }
.fault { --tone:var(--fault) } .warning { --tone:var(--warning) } .info { --tone:var(--info) }
.card header { display:flex; flex-wrap:wrap; align-items:baseline; gap:4px 12px; margin-bottom:8px }
.badge { color:var(--tone); font-weight:700 }
.code { font-family:ui-monospace,Menlo,Consolas,monospace; font-size:14px }
.points { margin-left:auto; color:var(--soft); font-size:14px } .where { color:var(--soft); font-size:14px }
.card dl { display:grid; grid-template-columns:88px 1fr; gap:6px 12px; margin:0 }
.card dt { color:var(--soft); font-size:14px; padding-top:1px } .card dd { margin:0; overflow-wrap:anywhere }
details { margin-top:10px } summary { cursor:pointer; color:var(--soft); font-size:14px }
.ids { font-size:13px; color:var(--soft); overflow-wrap:anywhere; margin:6px 0 0; max-height:220px; overflow-y:auto }
.section { background:var(--paper); border:1px solid var(--line); border-radius:8px; padding:18px 20px }
table { border-collapse:collapse; width:100% } td { padding:7px 12px 7px 0; border-bottom:1px solid var(--line);
  vertical-align:top; overflow-wrap:anywhere } .facts td:first-child { color:var(--soft); width:32% }
tr:last-child td { border-bottom:0 } h3 { font-size:16px; margin:26px 0 10px }
th { text-align:left; color:var(--soft); font-weight:400; font-size:14px; padding:0 12px 4px 0 }
.slices td { padding:4px 12px 4px 0 } .number { white-space:nowrap } .bar { width:100%; height:12px }
.track { fill:var(--line) } .fill { fill:var(--c1) } .mark { fill:var(--ink) }
.album { position:absolute; width:0; height:0 } .sheet { fill:var(--line) }
.query { display:flex; gap:16px; border-top:1px solid var(--line); padding:14px 0 }
.query > div { flex:1; min-width:0 } .query > .thumb { width:112px; flex:none; align-self:flex-start }
.query p { margin:0 0 8px } .asked { font-weight:600 } .note { color:var(--soft); font-size:14px }
.answers { list-style:none; margin:0; padding:0; display:grid; gap:12px;
  grid-template-columns:repeat(auto-fill,minmax(124px,1fr)); font-size:13px; line-height:1.4; color:var(--soft) }
.answers b { display:block; color:var(--ink); font-weight:600 } .answers small { display:block; overflow-wrap:anywhere }
.answers .thumb { width:100%; margin-bottom:4px } .answers q { display:block; quotes:none; color:var(--ink) }
.answers.six { grid-template-columns:repeat(6,1fr) } .answers.ten { grid-template-columns:repeat(10,1fr) }
.answers.captions { grid-template-columns:1fr; gap:4px }
.answers.captions li { display:flex; flex-wrap:wrap; align-items:baseline; gap:0 12px }
.captions b { order:-3; flex:0 0 110px } .captions q { order:-2; flex:1 1 300px; font-size:15px }
.captions small { order:-1 }
.right { color:var(--good) } .right b, .right q { color:var(--good) } .right .thumb { outline:3px solid var(--good) }
.thumb { border-radius:3px } .veil { fill:#fff; fill-opacity:.25 }
.look { fill:#ffd400; fill-opacity:.14; stroke:#e01e1e; stroke-width:2.5 }
.charts { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr)); gap:18px; margin-top:16px }
svg { width:100%; max-width:560px; height:auto; display:block } svg text { font-family:inherit; fill:var(--ink) }
.tick { font-size:12px } .axis { font-size:13px } .grid { stroke:var(--line); stroke-width:1 }
@media (max-width:640px) { main { padding:20px 14px 48px } h1 { font-size:23px } .card dl { grid-template-columns:1fr;
  gap:2px } .card dd { margin-bottom:8px } .points { margin-left:0 } .facts td { display:block; width:auto !important;
  padding:6px 0; border:0 } .facts td:first-child { padding-bottom:0; font-size:14px } .facts tr { display:block;
  border-bottom:1px solid var(--line) } .slices :is(th,td):last-child { display:none } .query { flex-wrap:wrap }
  .answers:is(.six,.ten) { grid-template-columns:repeat(3,1fr) } }
@media print { body { background:#fff } .card, .query { break-inside:avoid } }
"""


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
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        # An empty icon, or the browser asks for one.
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>'
        f'<h1>{escape(title)}</h1><p class="about">{escape(about)}</p>{_tally(findings)}{clean}{cards}'
        f"{''.join(_section(section) for section in sections)}</main></body></html>\n"
    )


def counted(findings: Sequence[Finding]) -> Mapping[str, int]:
    """How many findings there are of each severity, gravest first."""
    return {severity: sum(f.severity == severity for f in findings) for severity in SEVERITIES}


def _tally(findings: Sequence[Finding]) -> str:
    nouns = {"fault": "fault", "warning": "warning", "info": "note"}
    items = (
        f'<li style="color:var(--{severity})">{count(number, nouns[severity])}</li>'
        for severity, number in counted(findings).items()
    )
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
