"""The learning curve as inline SVG: a dot a run, the best curve, its band, the target."""

from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from tangka_match.analysis.diagnosis.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks
from tangka_match.analysis.saturating_curve import SaturatingCurve

LINE_POINTS, BAND_POINTS = 80, 28


def draw_learning_curve(
    curve: SaturatingCurve, runs: Sequence[tuple[float, float]], target: float, last: float, label: str
) -> str:
    """Draw recalls against the number of training pairs.

    Args:
        curve: As fitted.
        runs: Pairs and recall in percent of each run.
        target: In percent.
        last: Pairs at the right end.
        label: Of the recall.
    """
    sizes = np.linspace(min(curve.pairs) / 2, last, LINE_POINTS).tolist()
    band = [(n, *curve.interval_at(n)) for n in np.linspace(sizes[0], last, BAND_POINTS).tolist()]
    top = min(100.0, 1.08 * max(target, *(high for _, _, high in band), *(recall for _, recall in runs)))

    def place(pairs: float, recall: float) -> str:
        across = LEFT + pairs / last * (WIDTH - LEFT - RIGHT)
        return f"{across:.1f},{HEIGHT - BOTTOM - min(max(recall, 0.0), top) / top * (HEIGHT - TOP - BOTTOM):.1f}"

    outline = [place(n, high) for n, _, high in band] + [place(n, low) for n, low, _ in reversed(band)]
    line = " ".join(place(n, curve.at(n)) for n in sizes)
    right, height = place(last, target).split(",")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)} against training pairs">',
        *_axes(place, last, top, label),
        f'<polygon fill="var(--c1)" fill-opacity="0.15" points="{" ".join(outline)}"/>',
        f'<polyline fill="none" stroke="var(--c1)" stroke-width="1.8" points="{line}"/>',
        f'<line x1="{LEFT}" y1="{height}" x2="{right}" y2="{height}" stroke="var(--c3)" stroke-width="1.5" '
        'stroke-dasharray="6 4"/>',
    ]
    for pairs, recall in runs:
        x, y = place(pairs, recall).split(",")
        parts.append(f'<circle cx="{x}" cy="{y}" r="3.2" fill="var(--c2)"/>')
    key = LEFT
    for colour, words in (("c2", "runs"), ("c1", "curve, 95 % band"), ("c3", f"target {target:g} %")):
        parts.append(f'<rect x="{key}" y="8" width="11" height="11" rx="2" fill="var(--{colour})"/>')
        parts.append(f'<text class="tick" x="{key + 16}" y="18">{words}</text>')
        key += 40 + 7 * len(words)
    return "".join([*parts, "</svg>"])


def _axes(place: Callable[[float, float], str], last: float, top: float, label: str) -> list[str]:
    parts = []
    for tick in ticks(0.0, last):
        x, y = place(tick, 0.0).split(",")
        parts.append(f'<text class="tick" x="{x}" y="{float(y) + 16:.1f}" text-anchor="middle">{tick:,.0f}</text>')
    for tick in ticks(0.0, top):
        x, y = place(0.0, tick).split(",")
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    middle, centre = (TOP + HEIGHT - BOTTOM) / 2, (LEFT + WIDTH - RIGHT) / 2
    return [
        *parts,
        f'<text class="axis" x="{centre}" y="{HEIGHT - 8}" text-anchor="middle">training pairs</text>',
        f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(label)}'
        "</text>",
    ]
