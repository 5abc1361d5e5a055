"""The diagnosis in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tangka_match.analysis.diagnosis.finding import Section, in_order
from tangka_match.analysis.diagnosis.page import CLEAN, WORDS, tally

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
