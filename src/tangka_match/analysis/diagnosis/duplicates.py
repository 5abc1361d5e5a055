"""Duplicates: captions of the same text and nearly the same pictures, within a split and across splits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tangka_match.analysis.diagnosis.ceiling import ceiling
from tangka_match.analysis.diagnosis.feature_scan import FeatureScan
from tangka_match.analysis.diagnosis.finding import Finding, Groups, Section
from tangka_match.analysis.diagnosis.near_images import SAME, NearPair, group_pairs, near_images
from tangka_match.analysis.diagnosis.texts import Texts
from tangka_match.analysis.diagnosis.told_apart import told_apart
from tangka_match.data.captions import group_texts, text_key
from tangka_match.errors import count

SHOWN = 5


def diagnose_duplicates(
    texts: Mapping[str, Texts], scans: Mapping[str, FeatureScan]
) -> tuple[Section, dict[str, Groups]]:
    """Duplicates within every split, and between train and every other one.

    Args:
        texts: By split.
        scans: Features, by split.

    Returns:
        The section, and the groups of each split.
    """
    facts, findings, groups = [], [], {}
    values: dict[str, dict[str, int]] = {}
    for name, text in texts.items():
        split = text.split
        pairs = near_images(split, scans[name], split, scans[name])
        found = _groups(name, texts, scans, pairs)
        groups[name] = found
        reordered = same_words(text.words, found.captions)
        near = _in_groups(found.images)
        shared = _shared_texts(found.captions, split.caption_to_image)
        facts.append(
            (
                name,
                f"{near:,} images with a near-duplicate, {len(shared):,} captions that another image has too, "
                f"{len(reordered):,} more with the same words in another order",
            )
        )
        values[name] = {
            "near_images": near,
            "shared_captions": len(shared),
            "reordered_captions": len(reordered),
            "told_apart": len({caption for caption, _ in found.told}),
        }
        findings += _within(name, text, found, pairs, shared)
        findings += _reordered(name, reordered)
    if "train" in texts:
        for name in texts:
            if name != "train":
                findings += _leaks(texts, scans, name)
    return Section("duplicates", "Duplicates and leaks", facts, findings, values=values), groups


def _groups(name: str, texts: Mapping[str, Texts], scans: Mapping[str, FeatureScan], pairs: list[NearPair]) -> Groups:
    split = texts[name].split
    images, same_images = (
        group_pairs(chosen, split.num_images) for chosen in (pairs, [p for p in pairs if p.distance <= SAME])
    )
    found = Groups(images, same_images, group_texts(split.captions))
    if name == "train" or "train" not in texts or not pairs:
        return found
    train = texts["train"]
    if train.split.features.feature_dim != split.features.feature_dim:
        return found
    return found._replace(told=told_apart(texts[name], images, found.captions, train, scans["train"]))


def same_words(words: Sequence[Sequence[str]], text_group: npt.NDArray[np.int64]) -> list[int]:
    """Captions (indices) that consist of the words of a caption of another text, in another order.

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
    """Captions whose text describes another image too."""
    owners: dict[int, set[int]] = defaultdict(set)
    for text, image in zip(text_group.tolist(), caption_to_image.tolist(), strict=True):
        owners[text].add(image)
    return [caption for caption, text in enumerate(text_group.tolist()) if len(owners[text]) > 1]


def _within(name: str, text: Texts, found: Groups, pairs: Sequence[NearPair], shared: Sequence[int]) -> list[Finding]:
    split, owners = text.split, text.split.caption_to_image
    findings = []
    if pairs:
        lost = 100.0 - ceiling(found.images, np.arange(split.num_captions), owners, found.told)["mean_r1"]
        members = np.flatnonzero(np.bincount(found.images)[found.images] > 1)
        together = [np.flatnonzero(found.images == group) for group in dict.fromkeys(found.images[members].tolist())]
        listed = _listed([tuple(split.image_ids[image] for image in group) for group in together])
        findings.append(
            Finding(
                "near_images",
                "warning",
                f"{len(members):,} of {split.num_images:,} images of {name} have a near-duplicate in it, by their "
                f"features; {count(len(together), 'group')}: {listed}",
                "only one of a group counts as right"
                if name != "train"
                else "as negatives of each other they are pushed apart",
                "look at them first: features that say little make pictures of one kind (grass, snow, sea) alike; then "
                "keep one of each group, or "
                + (
                    "report recall that counts near-duplicates as right (evaluate near_duplicates.threshold=…)"
                    if name != "train"
                    else "give them one image id"
                ),
                points=lost if name != "train" else None,
                ids=tuple(split.image_ids[image] for image in members),
            )
        )
    if shared:
        lost = 100.0 - ceiling(np.arange(split.num_images), found.captions, owners)["mean_r1"]
        examples = _listed([(split.captions[caption],) for caption in shared])
        findings.append(
            Finding(
                "same_captions",
                "warning",
                f"{len(shared):,} of {split.num_captions:,} captions of {name} stand at several images: {examples}",
                "a caption finds one image first, and only one of them counts as right"
                if name != "train"
                else "training takes them for positives of each other; they teach less than pairs of their own",
                "tell in each caption what sets the image apart",
                points=lost if name != "train" else None,
                ids=tuple(f"{name} caption {caption + 1}" for caption in shared),
            )
        )
    return findings


def _reordered(name: str, captions: Sequence[int]) -> list[Finding]:
    if not captions:
        return []
    return [
        Finding(
            "reordered_captions",
            "info",
            f"{count(len(captions), 'caption')} of {name} have the same words as another one, in another order",
            "only a model that reads word order tells them apart",
            "look whether they mean the same",
            ids=tuple(f"{name} caption {caption + 1}" for caption in captions),
        )
    ]


def _leaks(texts: Mapping[str, Texts], scans: Mapping[str, FeatureScan], name: str) -> list[Finding]:
    train, held = texts["train"].split, texts[name].split
    findings = []
    if train.features.feature_dim == held.features.feature_dim:
        pairs = near_images(held, scans[name], train, scans["train"])
        for code, kept in (
            ("image_leak", [pair for pair in pairs if pair.distance <= SAME]),
            ("near_image_leak", [pair for pair in pairs if pair.distance > SAME]),
        ):
            findings += _image_leak(code, texts, name, kept)
    known = {text_key(caption) for caption in train.captions}
    leaked = [caption for caption, text in enumerate(held.captions) if text_key(text) in known]
    if leaked:
        examples = _listed([(held.captions[caption],) for caption in leaked])
        findings.append(
            Finding(
                "caption_leak",
                "warning",
                f"{len(leaked):,} of {held.num_captions:,} captions of {name} stand in train as well: {examples}",
                f"what the model learnt by heart counts as skill on {name}, unless such sentences are common",
                f"look at the pairs; remove those from train whose image is the one of {name}",
                points=100.0 * len(leaked) / held.num_captions,
                ids=tuple(f"{name} caption {caption + 1}" for caption in leaked),
            )
        )
    return findings


def _image_leak(code: str, texts: Mapping[str, Texts], name: str, pairs: Sequence[NearPair]) -> list[Finding]:
    if not pairs:
        return []
    train, held = texts["train"].split, texts[name].split
    named = [(held.image_ids[pair.query], f"train {train.image_ids[pair.gallery]}") for pair in pairs]
    sources: dict[int, list[str]] = defaultdict(list)
    for pair in pairs:
        sources[pair.query].append(f"train {train.image_ids[pair.gallery]}")
    listed = _listed([(held.image_ids[image], *found) for image, found in sources.items()])
    exact = code == "image_leak"
    return [
        Finding(
            code,
            "fault" if exact else "warning",
            f"{len(sources):,} of {held.num_images:,} images of {name} are {'' if exact else 'nearly '}images of "
            f"train: {listed}",
            f"the model may know these pictures by heart, so that {name} flatters it",
            "remove them from train, and split by picture, not by caption",
            points=100.0 * len(sources) / held.num_images,
            ids=tuple(f"{held_id} = {train_id}" for held_id, train_id in named),
        )
    ]


def _listed(items: Sequence[tuple[str, ...]]) -> str:
    shown = "; ".join(
        " = ".join(item[:SHOWN]) + (f" = {len(item) - SHOWN:,} more" if len(item) > SHOWN else "")
        for item in items[:SHOWN]
    )
    return shown + (f"; and {len(items) - SHOWN:,} more" if len(items) > SHOWN else "")
