"""Duplicate captions and near-duplicate images, within a split and across splits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tangka_match.analysis.diagnosis.ceiling import DuplicateGroups, ceiling, exceeds_ceiling
from tangka_match.analysis.diagnosis.distinguishable import find_distinguishable_captions
from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.analysis.diagnosis.texts import Texts
from tangka_match.data.captions import group_texts, text_key
from tangka_match.data.feature_scan import FeatureScan
from tangka_match.data.near_images import (
    MIN_NEIGHBOUR_DEVIATIONS,
    SAME,
    NearImages,
    NearPair,
    group_pairs,
    search_near_images,
)
from tangka_match.errors import count

MAX_LISTED = 5
"""Most groups, and most members of a group, listed in a message."""


def diagnose_duplicates(
    texts: Mapping[str, Texts], scans: Mapping[str, FeatureScan], recalls: Mapping[str, float] | None = None
) -> tuple[Section, dict[str, DuplicateGroups]]:
    """Find duplicates within each split, and between train and every other split.

    Args:
        texts: Captions by split.
        scans: Feature statistics by split.
        recalls: Text→image R@1 of a model (percent) by split, where measured. If it is above the ceiling, the images
            found are reported as similar images, not as duplicates.

    Returns:
        The section, and the duplicate groups of each split.
    """
    facts, findings, groups = [], [], {}
    values: dict[str, dict[str, int | float]] = {}
    for name, text in texts.items():
        split = text.split
        near_images = search_near_images(split, scans[name], split, scans[name])
        found = _groups(name, texts, scans, near_images.pairs)
        groups[name] = found
        reordered = same_words(text.words, found.captions)
        near = _in_groups(found.images)
        shared = _shared_texts(found.captions, split.caption_to_image)
        facts.append(
            (
                name,
                f"{count(near, 'image')} with a near-duplicate, {count(len(shared), 'caption')} shared with another "
                f"image, {count(len(reordered), 'caption')} with the words of another one in a different order",
            )
        )
        facts.append((f"{name}: criterion of near-duplicates", _criterion(near_images)))
        values[name] = {
            "near_images": near,
            "max_distance": near_images.limit,
            "shared_captions": len(shared),
            "reordered_captions": len(reordered),
            "told_apart": len({caption for caption, _ in found.mismatches}),
        }
        is_refuted = exceeds_ceiling((recalls or {}).get(name), found, split.caption_to_image)
        findings += _near(name, text, found, near_images, is_refuted=is_refuted)
        findings += _shared(name, text, found, shared)
        findings += _reordered(name, reordered)
    if "train" in texts:
        for name in texts:
            if name != "train":
                findings += _leaks(texts, scans, name)
    return Section("duplicates", "Duplicates and leaks", facts, findings, values=values), groups


def _groups(
    name: str, texts: Mapping[str, Texts], scans: Mapping[str, FeatureScan], pairs: list[NearPair]
) -> DuplicateGroups:
    split = texts[name].split
    images, same_images = (
        group_pairs(chosen, split.num_images) for chosen in (pairs, [p for p in pairs if p.distance <= SAME])
    )
    found = DuplicateGroups(images, same_images, group_texts(split.captions))
    if name == "train" or "train" not in texts or not pairs:
        return found
    train = texts["train"]
    if train.split.features.feature_dim != split.features.feature_dim:
        return found
    mismatches = find_distinguishable_captions(texts[name], images, found.captions, train, scans["train"])
    return found._replace(mismatches=mismatches)


def same_words(words: Sequence[Sequence[str]], text_group: npt.NDArray[np.int64]) -> list[int]:
    """Find captions (indices) that have the words of another caption in a different order.

    >>> same_words([["狗", "追", "猫"], ["猫", "追", "狗"], ["猫"]], np.array([0, 1, 2]))
    [0, 1]
    """
    by_words: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for caption, own in enumerate(words):
        by_words[tuple(sorted(own))].append(caption)
    return sorted(c for same in by_words.values() if len({text_group[c] for c in same}) > 1 for c in same)


def _in_groups(group: npt.NDArray[np.int64]) -> int:
    _, counts = np.unique(group, return_counts=True)
    return int(counts[counts > 1].sum())


def _shared_texts(text_group: npt.NDArray[np.int64], caption_to_image: npt.NDArray[np.int64]) -> list[int]:
    """Find captions whose text also belongs to another image."""
    owners: dict[int, set[int]] = defaultdict(set)
    for text, image in zip(text_group.tolist(), caption_to_image.tolist(), strict=True):
        owners[text].add(image)
    return [caption for caption, text in enumerate(text_group.tolist()) if len(owners[text]) > 1]


def _criterion(near: NearImages) -> str:
    """State the threshold in use."""
    limit = f"mean cosine distance of best-matching regions of at most {near.limit:.2g}"
    if near.limit <= SAME:
        return f"{limit}, the distance of exact duplicates: the split has no images that stand out from the others"
    return (
        f"{limit}, {MIN_NEIGHBOUR_DEVIATIONS:g} standard deviations closer than the nearest other images; also much "
        "closer than images further down the ranking, and before a gap in the distances"
    )


def _near(name: str, text: Texts, found: DuplicateGroups, near: NearImages, *, is_refuted: bool) -> list[Finding]:
    if not near.pairs:
        return []
    split, owners = text.split, text.split.caption_to_image
    members = np.flatnonzero(np.bincount(found.images)[found.images] > 1)
    together = [np.flatnonzero(found.images == group) for group in dict.fromkeys(found.images[members].tolist())]
    listed = _listed([tuple(split.image_ids[image] for image in group) for group in together])
    distances = [pair.distance for pair in near.pairs]
    # Exact duplicates remain duplicates, whatever the mean recall is.
    is_refuted = is_refuted and min(distances) > SAME
    kind = "very similar image" if is_refuted else "near-duplicate"
    seen = (
        f"{len(members):,} of {split.num_images:,} images of {name} have a {kind} in {name}, judged by their features "
        f"(distance up to {max(distances):.2g}, threshold {near.limit:.2g}); {count(len(together), 'group')}: {listed}"
    )
    ids = tuple(split.image_ids[image] for image in members)
    if is_refuted:
        why = "the model distinguishes most of them: its R@1 is above the ceiling that duplicates would set"
        return [Finding("near_images", "info", seen, why, "remove only those that prove to be copies", ids=ids)]
    inspect = (
        "inspect them first: weak features make images of one kind (grass, snow, sea) look alike; then keep one image "
        "per group, or "
    )
    if name == "train":
        why = "training uses them as negatives of each other and pushes them apart"
        return [Finding("near_images", "warning", seen, why, f"{inspect}give them the same image id", ids=ids)]
    lost = 100.0 - ceiling(found.images, np.arange(split.num_captions), owners, found.mismatches)["mean_r1"]
    why = "only one image per group counts as correct"
    do = (
        f"{inspect}report recall that counts near-duplicates as correct (evaluate near_duplicates.threshold=0.02, "
        "which is a cosine distance of mean features and not the distance above)"
    )
    return [Finding("near_images", "warning", seen, why, do, points=lost, ids=ids)]


def _shared(name: str, text: Texts, found: DuplicateGroups, shared: Sequence[int]) -> list[Finding]:
    if not shared:
        return []
    split, owners = text.split, text.split.caption_to_image
    is_train = name == "train"  # which is not ranked, and may have a million captions
    lost = None if is_train else 100.0 - ceiling(np.arange(split.num_images), found.captions, owners)["mean_r1"]
    examples = _listed([(split.captions[caption],) for caption in shared])
    return [
        Finding(
            "same_captions",
            "warning",
            f"{len(shared):,} of {split.num_captions:,} captions of {name} belong to several images: {examples}",
            "a caption ranks one image first, and only one of the images counts as correct"
            if not is_train
            else "training uses them as positives of each other; they teach less than distinct captions",
            "describe in each caption what distinguishes its image",
            points=lost,
            ids=tuple(f"{name} caption {caption + 1}" for caption in shared),
        )
    ]


def _reordered(name: str, captions: Sequence[int]) -> list[Finding]:
    if not captions:
        return []
    return [
        Finding(
            "reordered_captions",
            "info",
            f"{count(len(captions), 'caption')} of {name} have the same words as another caption, in a different order",
            "only a model that uses word order can distinguish them",
            "check whether they mean the same",
            ids=tuple(f"{name} caption {caption + 1}" for caption in captions),
        )
    ]


def _leaks(texts: Mapping[str, Texts], scans: Mapping[str, FeatureScan], name: str) -> list[Finding]:
    train, held = texts["train"].split, texts[name].split
    findings = []
    if train.features.feature_dim == held.features.feature_dim:
        near = search_near_images(held, scans[name], train, scans["train"])
        for code, kept in (
            ("image_leak", [pair for pair in near.pairs if pair.distance <= SAME]),
            ("near_image_leak", [pair for pair in near.pairs if pair.distance > SAME]),
        ):
            findings += _image_leak(code, texts, name, near._replace(pairs=kept))
    known = {text_key(caption) for caption in train.captions}
    leaked = [caption for caption, text in enumerate(held.captions) if text_key(text) in known]
    if leaked:
        examples = _listed([(held.captions[caption],) for caption in leaked])
        findings.append(
            Finding(
                "caption_leak",
                "warning",
                f"{len(leaked):,} of {held.num_captions:,} captions of {name} also occur in train: {examples}",
                f"memorised captions raise the recall on {name}, unless such sentences are common",
                f"inspect the pairs; remove from train those whose image is also in {name}",
                points=100.0 * len(leaked) / held.num_captions,
                ids=tuple(f"{name} caption {caption + 1}" for caption in leaked),
            )
        )
    return findings


def _image_leak(code: str, texts: Mapping[str, Texts], name: str, near: NearImages) -> list[Finding]:
    pairs = near.pairs
    if not pairs:
        return []
    train, held = texts["train"].split, texts[name].split
    named = [(held.image_ids[pair.query], f"train {train.image_ids[pair.gallery]}") for pair in pairs]
    sources: dict[int, list[str]] = defaultdict(list)
    for pair in pairs:
        sources[pair.query].append(f"train {train.image_ids[pair.gallery]}")
    listed = _listed([(held.image_ids[image], *found) for image, found in sources.items()])
    exact = code == "image_leak"
    farthest = max(pair.distance for pair in pairs)
    criterion = f" (distance up to {farthest:.2g}, threshold {near.limit:.2g})"
    return [
        Finding(
            code,
            "fault" if exact else "warning",
            f"{len(sources):,} of {held.num_images:,} images of {name} "
            f"{'are also in train' if exact else 'have a near-duplicate in train' + criterion}: {listed}",
            f"the model may have memorised these images, so the recall on {name} is too high",
            "remove them from train, and split the data by image, not by caption",
            points=100.0 * len(sources) / held.num_images,
            ids=tuple(f"{held_id} = {train_id}" for held_id, train_id in named),
        )
    ]


def _listed(items: Sequence[tuple[str, ...]]) -> str:
    shown = "; ".join(
        " = ".join(item[:MAX_LISTED]) + (f" = {len(item) - MAX_LISTED:,} more" if len(item) > MAX_LISTED else "")
        for item in items[:MAX_LISTED]
    )
    return shown + (f"; and {len(items) - MAX_LISTED:,} more" if len(items) > MAX_LISTED else "")
