"""What a diagnosis says: findings, and the sections that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Severity = Literal["fault", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "info")
"""Gravest first. A *fault* makes numbers wrong or a run worthless, a *warning* costs points, *info* is good to know."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        code: Short name for tools, such as ``image_leak``.
        severity: How grave it is.
        seen: What was seen, with the numbers.
        why: Why it matters.
        do: What to do about it.
        points: Points of R@1 that it costs (or, for a leak, gives) at most; ``None`` where they cannot be bounded.
        ids: Of the images or captions concerned; ``caption 12`` is the one on line 12 of the file.
    """

    code: str
    severity: Severity
    seen: str
    why: str
    do: str
    points: float | None = None
    ids: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        points = None if self.points is None else round(self.points, 2)
        return {**self.__dict__, "points": points, "ids": list(self.ids)}


@dataclass(frozen=True)
class Section:
    """One part of a diagnosis.

    Args:
        name: Short name for tools.
        title: For people.
        facts: Label and value of what was measured, in the order to show them.
        findings: What was found.
        charts: SVG elements.
        values: The measured numbers, for JSON.
        blocks: HTML elements below the charts.
    """

    name: str
    title: str
    facts: Sequence[tuple[str, str]]
    findings: Sequence[Finding]
    charts: Sequence[str] = ()
    values: dict[str, Any] = field(default_factory=dict)
    blocks: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; charts and blocks are left out."""
        return {
            "title": self.title,
            "values": self.values,
            "findings": [finding.to_dict() for finding in in_order(self.findings)],
        }


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """The gravest first; among equals those that cost most points, then as they were found.

    >>> low, high = Finding("a", "info", "", "", ""), Finding("b", "fault", "", "", "")
    >>> [finding.code for finding in in_order([low, high])]
    ['b', 'a']
    """
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), -(finding.points or 0.0)))


class Groups(NamedTuple):
    """What belongs together in a split of I images and C captions.

    Attributes:
        images: (I,) equal for images that are nearly the same.
        same_images: (I,) equal for images that are the same.
        captions: (C,) equal for captions of the same text.
        told: Pairs of a caption and an image of its group that it does not fit; see ``told_apart``.
    """

    images: npt.NDArray[np.int64]
    same_images: npt.NDArray[np.int64]
    captions: npt.NDArray[np.int64]
    told: frozenset[tuple[int, int]] = frozenset()
