"""Upper bound that duplicates set to recall, and the comparison of a recall profile with it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from math import comb
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tangka_match.analysis.diagnosis.finding import Finding, Section, Severity
from tangka_match.analysis.diagnosis.power import format_interval, recall_interval
from tangka_match.analysis.diagnosis.profile import ProfileReading, read_profile
from tangka_match.errors import count
from tangka_match.metric_names import CUTOFFS

MIN_LOSS = 1.0
"""Loss of mean R@1 due to duplicates (points) from which it is reported as a warning."""
PROFILE_LABEL = "text→image R@1 / R@5 / R@10 of the model (profile=, or of the run on val)"


class DuplicateGroups(NamedTuple):
    """Duplicates of a split with I images and C captions.

    Attributes:
        images: (I,) group of each image; near-duplicates share a number.
        same_images: (I,) group of each image; exact duplicates share a number.
        captions: (C,) group of each caption; captions of the same text share a number.
        mismatches: Pairs (caption, image): the image is in the group of the caption's own image but does not fit the
            caption; see `find_distinguishable_captions`.
    """

    images: npt.NDArray[np.int64]
    same_images: npt.NDArray[np.int64]
    captions: npt.NDArray[np.int64]
    mismatches: frozenset[tuple[int, int]] = frozenset()


def ceiling(
    image_group: npt.NDArray[np.int64],
    text_group: npt.NDArray[np.int64],
    caption_to_image: npt.NDArray[np.int64],
    mismatches: Collection[tuple[int, int]] = (),
) -> dict[str, float]:
    """Estimate the recall, by the raw protocol, of a model that errs only among duplicates.

    The model is perfect, except that it cannot distinguish the images of a group or the captions of a text, and ranks
    those that fit in random order. The raw protocol counts only the query's own partners as correct. Therefore

    - a caption has M images that fit: the group of its image without the mismatches, and the images that have a caption
      of the same text. Its R@K is min(K, M) / M.
    - an image that is alone in its group is found by the caption that the fewest images share, with m captions of that
      text: min(K, m) / m. In a group, its n captions are among the M that fit it (those of the group, and those
      elsewhere of the same texts), and R@K = 1 − C(M − n, K) / C(M, K), the probability that one of the first K is
      among the n.

    The mean R@1 deviated by at most 1.4 points from the demo oracle, which knows the scenes, with 5 to 40 % of 363
    images copied exactly, painted again, or painted with one change, and 2,910 training pairs
    (``experiments/2026-11-24_diagnoses``). The estimate is too low with less training data, because fewer mismatches
    are found, and with features that make images of one kind look alike. It is too high if duplicates are missed.

    Args:
        image_group: (I,) group of each image; near-duplicates share a number.
        text_group: (C,) group of each caption; captions of the same text share a number.
        caption_to_image: (C,) image of each caption.
        mismatches: Pairs (caption, image) that do not fit; see `find_distinguishable_captions`.

    Returns:
        ``i2t_r1`` … ``t2i_r10`` and ``mean_r1`` in percent.

    >>> both = ceiling(np.array([0, 0, 2, 3]), np.arange(4), np.arange(4))
    >>> both["t2i_r1"], both["i2t_r1"], both["t2i_r5"]
    (75.0, 75.0, 100.0)
    """
    of_caption, of_image = _fitting(image_group, text_group, caption_to_image, mismatches)
    values: dict[str, float] = {}
    for k in CUTOFFS:
        values[f"t2i_r{k}"] = 100.0 * float(np.mean([min(k, m) / m for m in of_caption]))
        found = [1 - comb(m - n, k) / comb(m, k) if m >= k else 1.0 for n, m in of_image]
        values[f"i2t_r{k}"] = 100.0 * float(np.mean(found))
    return values | {"mean_r1": (values["i2t_r1"] + values["t2i_r1"]) / 2}


def _fitting(
    image_group: npt.NDArray[np.int64],
    text_group: npt.NDArray[np.int64],
    caption_to_image: npt.NDArray[np.int64],
    mismatches: Collection[tuple[int, int]],
) -> tuple[list[int], list[tuple[int, int]]]:
    """Count the images that fit each caption, and for each image its own captions and all captions that fit."""
    members: dict[int, set[int]] = defaultdict(set)
    captions_of: dict[int, list[int]] = defaultdict(list)
    with_text: dict[int, set[int]] = defaultdict(set)
    of_text: dict[int, set[int]] = defaultdict(set)
    for image, group in enumerate(image_group.tolist()):
        members[group].add(image)
    for caption, (image, text) in enumerate(zip(caption_to_image.tolist(), text_group.tolist(), strict=True)):
        captions_of[image].append(caption)
        with_text[text].add(image)
        of_text[text].add(caption)
    texts, groups = text_group.tolist(), image_group.tolist()
    not_fitting: dict[int, set[int]] = defaultdict(set)
    for caption, image in mismatches:
        not_fitting[caption].add(image)
    of_caption = [
        len((members[groups[image]] - not_fitting[caption]) | with_text[texts[caption]])
        for caption, image in enumerate(caption_to_image.tolist())
    ]
    of_image: list[tuple[int, int]] = []
    for image, own in captions_of.items():
        together = members[groups[image]]
        if len(together) == 1:
            of_image.append((1, min(len(with_text[texts[caption]]) for caption in own)))
        else:
            near = {c for member in together for c in captions_of[member] if image not in not_fitting[c]}
            of_image.append((len(own), len(near.union(*(of_text[texts[c]] for c in own)))))
    return of_caption, of_image


def diagnose_ceiling(
    name: str, groups: DuplicateGroups, caption_to_image: npt.NDArray[np.int64], profile: Sequence[float] | None
) -> Section:
    """Estimate the ceiling of a split, and compare a recall profile with it.

    Args:
        name: Name of the split.
        groups: Duplicates of the split.
        caption_to_image: (C,) image of each caption.
        profile: Text→image R@1, R@5, R@10 of a model, in percent; ``None`` without a model.

    Raises:
        ConfigError: If the profile is not three rising percentages.
    """
    values = ceiling(groups.images, groups.captions, caption_to_image, groups.mismatches)
    low = ceiling(groups.images, groups.captions, caption_to_image)["mean_r1"]
    high = ceiling(groups.same_images, groups.captions, caption_to_image, groups.mismatches)["mean_r1"]
    facts = [
        (f"best possible {words} on {name}", " / ".join(f"{values[f'{direction}_r{k}']:.2f}" for k in CUTOFFS) + " %")
        for direction, words in (("i2t", "image→text R@1 / R@5 / R@10"), ("t2i", "text→image R@1 / R@5 / R@10"))
    ]
    distinguishing = len({caption for caption, _ in groups.mismatches})
    between = (
        f"{low:.1f} % if no near-duplicates can be distinguished, {high:.1f} % if all can; "
        f"{count(distinguishing, 'caption')} found that mention something only the correct image shows"
    )
    if low < high:
        facts.append((f"best possible mean R@1 on {name}", f"{values['mean_r1']:.2f} %: {between}"))
    lost = 100.0 - values["mean_r1"]
    findings = [_limit_finding(name, values, lost, between if low < high else "")] if lost >= MIN_LOSS else []
    out: dict[str, object] = {"split": name, **values, "mean_r1_bounds": [low, high]}
    if profile is not None:
        sizes = np.bincount(groups.images)[groups.images][caption_to_image]
        reading = read_profile(profile, len(groups.images), sizes.tolist(), values["t2i_r1"])
        if reading.looks_like == "above":
            # The measured recall refutes the estimate: do not ask to clean the split as well.
            findings = []
        findings.append(_profile_finding(profile, reading, values["t2i_r1"]))
        facts.append((PROFILE_LABEL, " / ".join(f"{recall:.2f}" for recall in profile) + " %"))
        out |= {"profile": list(profile), **reading._asdict()}
    return Section("ceiling", "Ceiling: best recall possible with these duplicates", facts, findings, values=out)


def exceeds_ceiling(recall: float | None, groups: DuplicateGroups, caption_to_image: npt.NDArray[np.int64]) -> bool:
    """Whether a text→image R@1 (percent) is significantly above the ceiling; ``False`` without one."""
    if recall is None:
        return False
    best = ceiling(groups.images, groups.captions, caption_to_image, groups.mismatches)["t2i_r1"]
    return recall_interval(recall, len(groups.images))[0] > best


def _limit_finding(name: str, values: Mapping[str, float], lost: float, between: str) -> Finding:
    return Finding(
        "ceiling",
        "warning",
        f"duplicates limit the mean R@1 on {name} to {values['mean_r1']:.1f} %, and text→image R@5 to "
        f"{values['t2i_r5']:.1f} %",
        "only one of several items that fit equally well counts as correct, so a perfect model that guesses "
        f"among them loses {lost:.1f} points" + (f" ({between})" if between else ""),
        "also report recall that counts near-duplicates as correct, and clean the split",
        points=lost,
    )


def _profile_finding(profile: Sequence[float], reading: ProfileReading, best: float) -> Finding:
    without, with_found = ("{:.0f} to {:.0f}".format(*usual) for usual in (reading.without, reading.with_found))
    seen = (
        f"R@1 / R@5 / R@10 of {profile[0]:.2f} / {profile[1]:.2f} / {profile[2]:.2f}. Models with this R@10 usually "
        f"have an R@1 of {without} without duplicates, and of {with_found} with the duplicates found here; the 95 % "
        f"interval of R@1 is {format_interval(reading.interval)}, and the ceiling is {best:.1f} %"
    )
    missing = max(reading.without[0] - profile[0], 0.0)
    explained = min(max(reading.without[0] - reading.with_found[0], 0.0), missing)
    why, do = {
        "weak_model": (
            "R@1 is as usual for this R@10: the profile is that of a model to improve, not that of duplicates",
            "improve training first: steps, loss, features",
        ),
        "duplicates": (
            f"R@1 is {missing:.1f} points lower than usual for this R@10, and the duplicates found explain it",
            "clean the split; a better model will hardly raise the raw R@1",
        ),
        "look_alikes": (
            f"R@1 is {missing:.1f} points lower than usual for this R@10: the correct item is among the first ten, but "
            f"a similar one ranks above it. The duplicates found explain {explained:.1f} of these points; the rest "
            "comes from similar items that the model confuses: fine details, or duplicates missed by the features",
            "inspect the worst queries; train longer on hard negatives, and mention in captions what distinguishes "
            "an image",
        ),
        "at_ceiling": (
            "R@1 is as high as this split can show",
            "compare models on a larger or harder split",
        ),
        "above": (
            "R@1 is above the ceiling, so the ceiling does not hold: the model distinguishes most of the images that "
            "were grouped as near-duplicates",
            "ignore the ceiling; remove only images that prove to be copies",
        ),
    }[reading.looks_like]
    steep = reading.looks_like in ("duplicates", "look_alikes")
    severity: Severity = "warning" if steep else "info"
    return Finding(f"profile_{reading.looks_like}", severity, seen, why, do, points=missing if steep else None)
