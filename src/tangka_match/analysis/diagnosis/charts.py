"""Charts as inline SVG, without scripts, external files or a plotting library."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import pairwise

import numpy as np

from tangka_match.analysis.saturating_curve import SaturatingCurve

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 66, 16, 30, 44
COLOURS = ("var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)")
MAX_POINTS = 400
"""Most points per curve; longer curves are subsampled."""
LINE_POINTS, BAND_POINTS = 80, 28
"""Points of a learning curve and of its confidence band."""

Curve = tuple[Sequence[float], Sequence[float]]


def histogram(values: Mapping[str, Sequence[float]], x_label: str, y_label: str, bins: int = 24) -> str:
    """Draw overlaid histograms as step curves.

    Args:
        values: Values by name; each histogram sums to 100 %.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        bins: Maximum number of bins; if all values are integers, the bin width is an integer.
    """
    everything = [value for series in values.values() for value in series if math.isfinite(value)]
    low, high = min(everything, default=0.0), max(everything, default=1.0)
    width = (high - low) / bins or 1.0
    if all(float(value).is_integer() for value in everything):
        width, high = math.ceil((high - low + 1) / bins), high + 1
    count = max(1, math.ceil((high - low) / width - 1e-9))
    curves = {}
    for name, series in values.items():
        heights = [0] * count
        for value in series:
            if math.isfinite(value):
                heights[min(int((value - low) / width), count - 1)] += 1
        edges = [low + width * n for n in range(count + 1)]
        xs = [edge for pair in pairwise(edges) for edge in pair]
        ys = [100 * height / max(1, len(series)) for height in heights for _ in range(2)]
        curves[name] = ([low, *xs, xs[-1]], [0.0, *ys, 0.0])
    return _draw(curves, x_label, y_label, filled=True)


def lines(curves: Mapping[str, Curve], x_label: str, y_label: str, *, logarithmic: bool = False) -> str:
    """Draw curves in one chart.

    Args:
        curves: x and y values by name; values that are not finite are skipped.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        logarithmic: Whether the y axis is logarithmic; values that are not positive are then skipped.
    """
    prepared: dict[str, Curve] = {}
    for name, (xs, ys) in curves.items():
        kept = [
            (x, math.log10(y) if logarithmic else y)
            for x, y in zip(xs, ys, strict=True)
            if math.isfinite(y) and (y > 0 or not logarithmic)
        ]
        step = math.ceil(len(kept) / MAX_POINTS) or 1
        thinned = kept[::step] + ([kept[-1]] if step > 1 else [])
        prepared[name] = ([x for x, _ in thinned], [y for _, y in thinned])
    return _draw(prepared, x_label, y_label, filled=False, logarithmic=logarithmic)


def draw_learning_curve(
    curve: SaturatingCurve, runs: Sequence[tuple[float, float]], target: float, last: float, label: str
) -> str:
    """Draw recalls against the number of training pairs.

    Args:
        curve: Fitted curve.
        runs: Training pairs and recall (percent) of each run.
        target: Target recall, in percent.
        last: Training pairs at the right end of the x axis.
        label: Label of the y axis.
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
        *_learning_curve_axes(place, last, top, label),
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


def ticks(low: float, high: float) -> list[float]:
    """Choose round tick values that divide a range into four to nine parts.

    >>> ticks(0, 37)
    [0, 5, 10, 15, 20, 25, 30, 35]
    """
    raw = (high - low) / 4
    scale = 10 ** math.floor(math.log10(raw))
    step = next(s for s in (5, 2, 1) if s * scale <= raw * (1 + 1e-6)) * scale
    return [step * n for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Choose logarithmic ticks: 1, 2 and 5 times powers of ten; powers of ten only for three decades or more."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    factors = (1, 2, 5) if high - low < 3 else (1,)
    marks = (power + math.log10(factor) for power in powers for factor in factors)
    return [mark for mark in marks if low <= mark <= high]


def _draw(curves: Mapping[str, Curve], x_label: str, y_label: str, *, filled: bool, logarithmic: bool = False) -> str:
    all_x = [x for xs, _ in curves.values() for x in xs]
    x_low, x_high = _range(all_x)
    y_low, y_high = _range([y for _, ys in curves.values() for y in ys], logarithmic=logarithmic)
    if not logarithmic and y_low >= 0:
        y_low = 0.0

    def place(x: float, y: float) -> str:
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        return f"{across:.1f},{HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{y_label} against {x_label}")}">']
    for tick in ticks(x_low, x_high):
        if all(float(x).is_integer() for x in all_x) and not float(tick).is_integer():
            continue
        x, y = place(tick, y_low).split(",")
        parts.append(f'<text class="tick" x="{x}" y="{float(y) + 16:.1f}" text-anchor="middle">{_number(tick)}</text>')
    for tick in (_decades if logarithmic else ticks)(y_low, y_high):
        x, y = place(x_low, tick).split(",")
        label = _number(10**tick) if logarithmic else _number(tick)
        parts.append(f'<line class="grid" x1="{x}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{float(y) + 4:.1f}" text-anchor="end">{label}</text>')
    key = LEFT
    for number, (name, (xs, ys)) in enumerate(curves.items()):
        points = [place(x, y) for x, y in zip(xs, ys, strict=True)]
        parts += _curve(name, points, COLOURS[number % len(COLOURS)], key, filled=filled)
        key += 40 + 7 * len(name)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts += [
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}'
        "</text>",
        f'<text class="axis" transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}'
        "</text></svg>",
    ]
    return "".join(parts)


def _curve(name: str, points: Sequence[str], colour: str, key: int, *, filled: bool) -> list[str]:
    fill = f'fill="{colour}" fill-opacity="0.13"' if filled else 'fill="none"'
    drawn = f'<polyline {fill} stroke="{colour}" stroke-width="1.8" points="{" ".join(points)}"/>'
    if len(points) == 1:
        x, y = points[0].split(",")
        drawn = f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>'
    return [
        drawn,
        f'<rect x="{key}" y="8" width="11" height="11" rx="2" fill="{colour}"/>',
        f'<text class="tick" x="{key + 16}" y="18">{escape(name)}</text>',
    ]


def _range(values: Sequence[float], *, logarithmic: bool = False) -> tuple[float, float]:
    """Return the range of an axis; around a single value, it does not extend below 0 unless the value does."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if high > low:
        return low, high
    if logarithmic or low < 0:
        return low - 0.5, high + 0.5
    return 0.0, 2 * high or 1.0


def _number(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        text = f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    else:
        text = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"
    return text.replace("-", "−")


def _learning_curve_axes(place: Callable[[float, float], str], last: float, top: float, label: str) -> list[str]:
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
