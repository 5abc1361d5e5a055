"""Findings, and the sections of a diagnosis that contain them.

A separate file, because every section and the commands that assemble the sections import it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["fault", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "info")
"""Most severe first. *fault*: numbers are wrong or a run is useless; *warning*: recall is lost; *info*: context."""


@dataclass(frozen=True)
class Finding:
    """A single observation of a diagnosis, with its reason and its remedy.

    Args:
        code: Identifier for tools, such as ``image_leak``.
        severity: Severity.
        seen: Observation, with numbers; the first clause reads as a title.
        why: Why it matters.
        do: What to do about it.
        points: Upper bound of the effect on R@1, in points (a loss, or for a leak a gain); ``None`` if unknown.
        ids: Ids of the affected images or captions; ``caption 12`` is the caption on line 12 of the file.
    """

    code: str
    severity: Severity
    seen: str
    why: str
    do: str
    points: float | None = None
    ids: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        points = None if self.points is None else round(self.points, 2)
        return {**self.__dict__, "points": points, "ids": list(self.ids)}


@dataclass(frozen=True)
class Section:
    """Section of a diagnosis.

    Args:
        name: Identifier for tools.
        title: Heading.
        facts: Label and value of each measurement, in display order.
        findings: Findings of this section.
        charts: SVG elements.
        values: Measurements as plain values, for JSON.
        blocks: HTML elements, shown below the charts.
    """

    name: str
    title: str
    facts: Sequence[tuple[str, str]]
    findings: Sequence[Finding]
    charts: Sequence[str] = ()
    values: dict[str, Any] = field(default_factory=dict)
    blocks: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without charts and blocks."""
        return {
            "title": self.title,
            "values": self.values,
            "findings": [finding.to_dict() for finding in in_order(self.findings)],
        }


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Sort findings by severity, then by points; ties keep their order.

    >>> low, high = Finding("a", "info", "", "", ""), Finding("b", "fault", "", "", "")
    >>> [finding.code for finding in in_order([low, high])]
    ['b', 'a']
    """
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -(finding.points or 0.0)))
