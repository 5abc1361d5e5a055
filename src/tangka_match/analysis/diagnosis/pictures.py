"""Region features as a diagnosis looks at them: damage, padding, norms, dead dimensions, drift between splits."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tangka_match.analysis.diagnosis.charts import histogram
from tangka_match.analysis.diagnosis.feature_scan import FeatureScan
from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.data.split import Split
from tangka_match.errors import count

ODD_NORM = 10.0
"""An image whose mean region norm is so many times larger, or smaller, than the split's median is an odd one."""
SCALE_DRIFT = 1.5
"""Ratio of the median norms of two splits above which they are on different scales."""
MEAN_DRIFT = 3.0
"""Distance of two splits' mean features, as a multiple of what drawing both from one pool gives, called drift."""


MOST_DRAWN = 50_000
"""Regions of a split whose norms are drawn."""


def diagnose_pictures(splits: Mapping[str, Split], scans: Mapping[str, FeatureScan]) -> Section:
    """Everything about the features that needs no captions.

    Args:
        splits: By name; ``train`` first, where there is one.
        scans: Their features, by the same names.
    """
    facts, findings = [], []
    medians = {name: _median_norm(scan) for name, scan in scans.items()}
    for name, split in splits.items():
        features = split.features
        facts.append(
            (
                name,
                f"{split.num_images:,} images × {features.num_regions} regions × {features.feature_dim:,} "
                f"({features.dtype}), {split.num_captions:,} captions; median region norm {medians[name]:.3g}",
            )
        )
        findings += _damage(split, scans[name])
        findings += _padding(split, scans[name])
        findings += _odd_norms(split, scans[name], medians[name])
        findings += _constant(split, scans[name])
    findings += _drift(scans, medians)
    charts = [histogram(_drawn_norms(scans), "L2 norm of a region (last bin: and more)", "% of regions")]
    values = {
        "images": {name: split.num_images for name, split in splits.items()},
        "captions": {name: split.num_captions for name, split in splits.items()},
        "median_norm": medians,
        "drift": _drift_ratios(scans),
    }
    return Section("pictures", "Images and features", facts, findings, charts, values)


def drift_ratio(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """How far two samples' means are apart, against what chance gives.

    ``‖mean₁ − mean₂‖² / (tr Σ₁ / n₁ + tr Σ₂ / n₂)``, the multivariate Welch statistic without its cross terms: 1 on
    average where both samples come from one pool, whatever their sizes.

    Args:
        first: (N, F).
        second: (M, F); both with two rows at least.

    >>> values = np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32)
    >>> drift_ratio(values[:100], values[100:]) < 1.5 < drift_ratio(values[:100], values[100:] + 0.3)
    True
    """
    moved = float(((first.mean(axis=0) - second.mean(axis=0)) ** 2).sum())
    by_chance = sum(float(part.var(axis=0, ddof=1).sum()) / len(part) for part in (first, second))
    return moved / by_chance if by_chance > 0 else 0.0


def _drawn_norms(scans: Mapping[str, FeatureScan]) -> dict[str, list[float]]:
    """Norms to draw, by split: a sample of large sets, and outliers brought to the edge, or they squeeze the rest."""
    norms = {name: scan.norms[scan.good] for name, scan in scans.items()}
    sampled = {name: values[:: -(-len(values) // MOST_DRAWN) or 1] for name, values in norms.items()}
    edge = 2 * max((float(np.quantile(values, 0.99)) for values in sampled.values() if len(values)), default=1.0)
    return {name: np.minimum(values, edge).tolist() for name, values in sampled.items()}


def _named(split: Split, rows: npt.NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(split.image_ids[row] for row in rows)


def _some(ids: tuple[str, ...]) -> str:
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5:,} more" if len(ids) > 5 else "")


def _damage(split: Split, scan: FeatureScan) -> list[Finding]:
    findings = []
    if (bad := np.flatnonzero(~scan.finite.all(axis=1))).size:
        ids = _named(split, bad)
        findings.append(
            Finding(
                "not_finite",
                "fault",
                f"NaN or Inf in {count(len(bad), 'image')} of {split.name}, "
                f"{count(int((~scan.finite).sum()), 'region')} in all: {_some(ids)}",
                "one of them makes the loss NaN; training and evaluation refuse such an image",
                f"extract these images again ({split.features.path.name}), or look for an overflow on conversion to "
                "float16",
                ids=ids,
            )
        )
    if (bare := np.flatnonzero(~scan.real.any(axis=1))).size:
        ids = _named(split, bare)
        findings.append(
            Finding(
                "empty_images",
                "fault",
                f"nothing but zeros in {count(len(bare), 'image')} of {split.name}: {_some(ids)}",
                "there is nothing to match; training and evaluation refuse such an image",
                f"extract these images again ({split.features.path.name}), or remove them and their captions",
                points=None if split.name == "train" else 100.0 * len(bare) / split.num_images,
                ids=ids,
            )
        )
    return findings


def _padding(split: Split, scan: FeatureScan) -> list[Finding]:
    zero = ~scan.real & scan.real.any(axis=1, keepdims=True)
    if not zero.any():
        return []
    later = np.cumsum(scan.real[:, ::-1], axis=1)[:, ::-1] > 0
    holes = np.flatnonzero((zero & later).any(axis=1))
    if holes.size:
        ids = _named(split, holes)
        return [
            Finding(
                "zero_regions",
                "warning",
                f"regions of zeros before real ones in {count(len(holes), 'image')} of {split.name}: {_some(ids)}",
                "padding stands at the end; zeros in between are regions that were lost, and the model never sees them",
                f"extract these images again ({split.features.path.name})",
                ids=ids,
            )
        ]
    padded = int(zero.any(axis=1).sum())
    return [
        Finding(
            "padding",
            "info",
            f"{count(padded, 'image')} of {split.name} have fewer than {scan.real.shape[1]} regions: "
            f"{100 * zero.mean():.1f} % of all regions are padding",
            "padding is masked everywhere and costs time only",
            "nothing",
        )
    ]


def _odd_norms(split: Split, scan: FeatureScan, median: float) -> list[Finding]:
    good = scan.good.sum(axis=1)
    means = scan.norms.sum(axis=1) / np.maximum(good, 1)
    odd = np.flatnonzero((good > 0) & ((means > ODD_NORM * median) | (means < median / ODD_NORM)))
    if not odd.size:
        return []
    ids = _named(split, odd)
    return [
        Finding(
            "odd_norms",
            "warning",
            f"region norms of {means[odd].min():.3g} to {means[odd].max():.3g} in {count(len(odd), 'image')} of "
            f"{split.name}, where the median is {median:.3g}: {_some(ids)}",
            "they were extracted or scaled in another way than the rest",
            f"extract these images again ({split.features.path.name})",
            ids=ids,
        )
    ]


def _constant(split: Split, scan: FeatureScan) -> list[Finding]:
    dead = np.flatnonzero(scan.lowest == scan.highest)
    if not dead.size or scan.good.sum() < 2:
        return []
    return [
        Finding(
            "constant_dimensions",
            "warning",
            f"one and the same value all over {split.name} in {len(dead):,} of {len(scan.lowest):,} dimensions: "
            f"{_some(tuple(map(str, dead)))}",
            "they carry nothing, and may be a sign that the extractor or the conversion lost something",
            "compare a few images with what the extractor returns",
        )
    ]


def _median_norm(scan: FeatureScan) -> float:
    return float(np.median(scan.norms[scan.good])) if scan.good.any() else 0.0


def _drift_ratios(scans: Mapping[str, FeatureScan]) -> dict[str, float]:
    usable = {name: scan.means[scan.good.any(axis=1)] for name, scan in scans.items()}
    if "train" not in usable or len(usable["train"]) < 2:
        return {}
    same_shape = {n: m for n, m in usable.items() if n != "train" and m.shape[1] == usable["train"].shape[1]}
    return {name: drift_ratio(usable["train"], means) for name, means in same_shape.items() if len(means) > 1}


def _drift(scans: Mapping[str, FeatureScan], medians: Mapping[str, float]) -> list[Finding]:
    findings = []
    for name, ratio in _drift_ratios(scans).items():
        scale = medians[name] / medians["train"] if medians["train"] else 1.0
        if not 1 / SCALE_DRIFT < scale < SCALE_DRIFT:
            findings.append(
                Finding(
                    "scale_drift",
                    "fault",
                    f"regions of {name} have a median norm of {medians[name]:.3g}, of train {medians['train']:.3g}",
                    f"the model meets features of another scale on {name}: one split was normalised and the other not, "
                    "or another extractor made it",
                    "extract both splits with the same settings",
                )
            )
        elif ratio > MEAN_DRIFT:
            findings.append(
                Finding(
                    "feature_drift",
                    "warning",
                    f"the mean features of {name} and train are {ratio:.1f} times as far apart (squared) as two random "
                    "parts of one pool would be",
                    f"{name} holds other pictures than train, so its recall tells little about either",
                    "draw the splits at random from one pool, or report the two as different domains",
                )
            )
    return findings
