"""Check the region features: damage, padding, norms, constant dimensions, drift between splits."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tangka_match.analysis.diagnosis.charts import histogram
from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.data.feature_scan import FeatureScan
from tangka_match.data.split import Split
from tangka_match.errors import count

MAX_NORM_RATIO = 10.0
"""Ratio of an image's mean region norm to the median of the split, or its inverse, above which it is an outlier."""
MAX_SCALE_RATIO = 1.5
"""Ratio of the median norms of two splits, or its inverse, above which their scales differ."""
MAX_DRIFT_RATIO = 3.0
"""`drift_ratio` of two splits above which they are reported to differ."""
BLOCK = 4_096
"""Images whose mean features are copied at once."""
MAX_PLOTTED = 50_000
"""Most regions per split in the histogram of norms."""


def diagnose_pictures(splits: Mapping[str, Split], scans: Mapping[str, FeatureScan]) -> Section:
    """Check the features of all splits, without using the captions.

    Args:
        splits: Splits by name; ``train`` first, if present.
        scans: Feature statistics by name.
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
    charts = [histogram(_plotted_norms(scans), "L2 norm per region (last bin: all larger values)", "% of regions")]
    values = {
        "images": {name: split.num_images for name, split in splits.items()},
        "captions": {name: split.num_captions for name, split in splits.items()},
        "median_norm": medians,
        "drift": _drift_ratios(scans),
    }
    return Section("pictures", "Images and features", facts, findings, charts, values)


def drift_ratio(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    """Compute the squared distance of two sample means relative to its expectation under equal distributions.

    ``‖mean₁ − mean₂‖² / (tr Σ₁ / n₁ + tr Σ₂ / n₂)``, the multivariate Welch statistic without cross terms: 1 on average
    if both samples come from the same distribution, whatever their sizes.

    Args:
        first: First sample, (N, F), N >= 2.
        second: Second sample, (M, F), M >= 2.

    >>> values = np.random.default_rng(0).normal(size=(200, 50)).astype(np.float32)
    >>> drift_ratio(values[:100], values[100:]) < 1.5 < drift_ratio(values[:100], values[100:] + 0.3)
    True
    """
    centres = [part.mean(axis=0, dtype=np.float64) for part in (first, second)]
    moved = float(((centres[0] - centres[1]) ** 2).sum())
    by_chance = sum(
        _squares(part, centre) / (len(part) - 1) / len(part)
        for part, centre in zip((first, second), centres, strict=True)
    )
    return moved / by_chance if by_chance > 0 else 0.0


def _squares(part: npt.NDArray[np.float32], centre: npt.NDArray[np.float64]) -> float:
    """Sum the squared deviations from the centre, in blocks, because the means of a large split fill the memory."""
    blocks = (part[start : start + BLOCK] for start in range(0, len(part), BLOCK))
    return float(sum(np.square(block - centre).sum() for block in blocks))


def _plotted_norms(scans: Mapping[str, FeatureScan]) -> dict[str, list[float]]:
    """Return norms by split, large sets sampled and outliers clipped so that they do not compress the histogram."""
    norms = {name: scan.norms[scan.valid] for name, scan in scans.items()}
    sampled = {name: values[:: -(-len(values) // MAX_PLOTTED) or 1] for name, values in norms.items()}
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
                f"{count(len(bad), 'image')} of {split.name} with NaN or Inf, in "
                f"{count(int((~scan.finite).sum()), 'region')} altogether: {_some(ids)}",
                "a single NaN makes the loss NaN; training and evaluation refuse such images",
                f"extract these images again ({split.features.path.name}), or check the conversion to float16 for "
                "overflow",
                ids=ids,
            )
        )
    if (bare := np.flatnonzero(~scan.real.any(axis=1))).size:
        ids = _named(split, bare)
        findings.append(
            Finding(
                "empty_images",
                "fault",
                f"{count(len(bare), 'image')} of {split.name} with zero features only: {_some(ids)}",
                "they cannot be matched; training and evaluation refuse such images",
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
                f"{count(len(holes), 'image')} of {split.name} with zero regions between real ones: {_some(ids)}",
                "padding belongs at the end; zeros in between are lost regions, which are masked like padding",
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
            "padding is masked and only costs time",
            "no action needed",
        )
    ]


def _odd_norms(split: Split, scan: FeatureScan, median: float) -> list[Finding]:
    valid = scan.valid.sum(axis=1)
    means = scan.norms.sum(axis=1) / np.maximum(valid, 1)
    odd = np.flatnonzero((valid > 0) & ((means > MAX_NORM_RATIO * median) | (means < median / MAX_NORM_RATIO)))
    if not odd.size:
        return []
    ids = _named(split, odd)
    return [
        Finding(
            "odd_norms",
            "warning",
            f"{count(len(odd), 'image')} of {split.name} with outlying region norms: {means[odd].min():.3g} to "
            f"{means[odd].max():.3g}, median of the split {median:.3g}: {_some(ids)}",
            "they were probably extracted or scaled differently from the rest",
            f"extract these images again ({split.features.path.name})",
            ids=ids,
        )
    ]


def _constant(split: Split, scan: FeatureScan) -> list[Finding]:
    dead = np.flatnonzero(scan.lowest == scan.highest)
    if not dead.size or scan.valid.sum() < 2:
        return []
    return [
        Finding(
            "constant_dimensions",
            "warning",
            f"{len(dead):,} of {len(scan.lowest):,} feature dimensions are constant in {split.name}: "
            f"{_some(tuple(map(str, dead)))}",
            "they carry no information, and may indicate an error of the extractor or of the conversion",
            "compare a few images with the output of the extractor",
        )
    ]


def _median_norm(scan: FeatureScan) -> float:
    return float(np.median(scan.norms[scan.valid])) if scan.valid.any() else 0.0


def _usable_means(scan: FeatureScan) -> npt.NDArray[np.float32]:
    """Return the means of images with a valid region, without a copy if all have one."""
    usable = scan.valid.any(axis=1)
    return scan.means if usable.all() else scan.means[usable]


def _drift_ratios(scans: Mapping[str, FeatureScan]) -> dict[str, float]:
    usable = {name: _usable_means(scan) for name, scan in scans.items()}
    if "train" not in usable or len(usable["train"]) < 2:
        return {}
    same_shape = {n: m for n, m in usable.items() if n != "train" and m.shape[1] == usable["train"].shape[1]}
    return {name: drift_ratio(usable["train"], means) for name, means in same_shape.items() if len(means) > 1}


def _drift(scans: Mapping[str, FeatureScan], medians: Mapping[str, float]) -> list[Finding]:
    findings = []
    for name, ratio in _drift_ratios(scans).items():
        scale = medians[name] / medians["train"] if medians["train"] else 1.0
        if not 1 / MAX_SCALE_RATIO < scale < MAX_SCALE_RATIO:
            findings.append(
                Finding(
                    "scale_drift",
                    "fault",
                    f"the median region norm is {medians[name]:.3g} in {name} and {medians['train']:.3g} in train",
                    f"the features of {name} are on a different scale from those of train: only one of the splits was "
                    "normalised, or they come from different extractors",
                    "extract both splits with the same settings",
                )
            )
        elif ratio > MAX_DRIFT_RATIO:
            findings.append(
                Finding(
                    "feature_drift",
                    "warning",
                    f"the mean features of {name} and train differ: their squared distance is {ratio:.1f} times that "
                    "of two random parts of the same set",
                    f"{name} contains other kinds of images than train, so its recall says little about either",
                    "draw the splits at random from the same set, or report them as different domains",
                )
            )
    return findings
