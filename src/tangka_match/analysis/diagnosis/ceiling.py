"""The best recall that duplicates leave to any model, and how a profile of recalls compares with it."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from math import comb

import numpy as np
import numpy.typing as npt

from tangka_match.analysis.diagnosis.finding import Finding, Groups, Section, Severity
from tangka_match.analysis.diagnosis.profile import Reading, read_profile
from tangka_match.errors import count
from tangka_match.metric_names import CUTOFFS

TOLD = 1.0
"""Points of R@1 that duplicates must cost before the ceiling is a warning."""
COMPARED = "compared with it: the model's text→image R@1 / R@5 / R@10 (profile=, or of the run on val)"


def ceiling(
    image_group: npt.NDArray[np.int64],
    text_group: npt.NDArray[np.int64],
    caption_to_image: npt.NDArray[np.int64],
    told: Collection[tuple[int, int]] = (),
) -> dict[str, float]:
    """Expected recalls, by the raw protocol, of a model that errs nowhere but among duplicates.

    What is estimated: a perfect model, except that it cannot tell apart images of one group, nor captions of one text,
    and guesses among those that fit. The raw protocol counts a query's own partners alone as right. So

    - a caption has M images that fit: those of the group of its image, but for the ones that it is told from, and
      images that have a caption of the same text. Its R@K is min(K, M) / M.
    - an image alone in its group goes by the one of its captions that fewest images share, m captions of that text:
      min(K, m) / m. In a group, its n captions are among the M that fit it, those of the group and those elsewhere of
      a text of its own, and R@K is the chance that one of the first K is among the n: 1 − C(M − n, K) / C(M, K).

    Against the demo oracle, which knows the scenes, the mean R@1 was at most 1.4 points off with 5 to 40 % of 363
    pictures copied exactly, painted again, or painted with one thing changed, and 2,910 training pairs
    (``experiments/2026-11-24_diagnoses`` says what was measured with which rule). With fewer to learn from, fewer
    captions are told from the copy, and it is low; so it is where features make pictures of one kind alike. It is high
    where duplicates are not found.

    Args:
        image_group: (I,) equal for images that are nearly the same.
        text_group: (C,) equal for captions of the same text.
        caption_to_image: (C,) image of each caption.
        told: Pairs of a caption and an image of its group that it does not fit; see ``told_apart``.

    Returns:
        ``i2t_r1`` … ``t2i_r10`` and ``mean_r1`` in percent.

    >>> both = ceiling(np.array([0, 0, 2, 3]), np.arange(4), np.arange(4))
    >>> both["t2i_r1"], both["i2t_r1"], both["t2i_r5"]
    (75.0, 75.0, 100.0)
    """
    of_caption, of_image = _fitting(image_group, text_group, caption_to_image, told)
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
    told: Collection[tuple[int, int]],
) -> tuple[list[int], list[tuple[int, int]]]:
    """Images that fit each caption, and of each image how many captions are right, among how many that fit."""
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
    for caption, image in told:
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
    name: str, groups: Groups, caption_to_image: npt.NDArray[np.int64], profile: Sequence[float] | None
) -> Section:
    """The ceiling of a split, and how a profile compares with it.

    Args:
        name: Of the split.
        groups: Its duplicates.
        caption_to_image: (C,) image of each caption.
        profile: R@1, R@5, R@10 in percent, of text→image; ``None`` where no model was measured.

    Raises:
        ConfigError: If the profile is not three rising percentages.
    """
    values = ceiling(groups.images, groups.captions, caption_to_image, groups.told)
    low = ceiling(groups.images, groups.captions, caption_to_image)["mean_r1"]
    high = ceiling(groups.same_images, groups.captions, caption_to_image, groups.told)["mean_r1"]
    facts = [
        (f"best {words} on {name}", " / ".join(f"{values[f'{direction}_r{k}']:.2f}" for k in CUTOFFS) + " %")
        for direction, words in (("i2t", "image→text R@1 / R@5 / R@10"), ("t2i", "text→image R@1 / R@5 / R@10"))
    ]
    naming = len({caption for caption, _ in groups.told})
    between = (
        f"{low:.1f} % if no near copy could be told from another, {high:.1f} % if every one could; "
        f"{count(naming, 'caption')} of near copies found to name what only the right picture shows"
    )
    if low < high:
        facts.append((f"best mean R@1 on {name}", f"{values['mean_r1']:.2f} %: {between}"))
    findings = []
    lost = 100.0 - values["mean_r1"]
    if lost >= TOLD:
        findings.append(
            Finding(
                "ceiling",
                "warning",
                f"duplicates leave a perfect model a mean R@1 of {values['mean_r1']:.1f} % on {name}, R@5 of "
                f"{values['t2i_r5']:.1f} %",
                "of several items that fit equally well only one counts as right, so a model that guesses among them "
                f"loses {lost:.1f} points" + (f" ({between})" if low < high else ""),
                "report recall that counts near-duplicates as right beside the raw one, and clean the split",
                points=lost,
            )
        )
    out: dict[str, object] = {"split": name, **values, "mean_r1_bounds": [low, high]}
    if profile is not None:
        sizes = np.bincount(groups.images)[groups.images][caption_to_image]
        reading = read_profile(profile, len(groups.images), sizes.tolist(), values["t2i_r1"])
        findings.append(_profile_finding(profile, reading, values["t2i_r1"]))
        facts.append((COMPARED, " / ".join(f"{recall:.2f}" for recall in profile) + " %"))
        out |= {"profile": list(profile), **reading._asdict()}
    return Section("ceiling", "Ceiling: what duplicates leave", facts, findings, values=out)


def _profile_finding(profile: Sequence[float], reading: Reading, best: float) -> Finding:
    without, with_found = ("{:.0f} to {:.0f}".format(*usual) for usual in (reading.without, reading.with_found))
    seen = (
        f"R@1 / R@5 / R@10 of {profile[0]:.2f} / {profile[1]:.2f} / {profile[2]:.2f}. Models of this R@10 have an "
        f"R@1 of {without} where nothing is alike, of {with_found} with the duplicates found here; it is known to ± "
        f"{reading.half_width:.1f}, and the ceiling is {best:.1f}"
    )
    missing = max(reading.without[0] - profile[0], 0.0)
    explained = min(max(reading.without[0] - reading.with_found[0], 0.0), missing)
    why, do = {
        "weak_model": (
            "the profile looks like a model that is too weak everywhere, not like duplicates",
            "look at training first: steps, loss, features",
        ),
        "duplicates": (
            f"the profile looks like duplicates: R@1 is {missing:.1f} points lower than usual, as those found make it",
            "clean the split; a better model will hardly raise the raw R@1",
        ),
        "look_alikes": (
            f"R@1 is {missing:.1f} points lower than usual for its R@10: the right item is among the first ten, and "
            f"something like it stands before it. Duplicates found explain {explained:.1f} of these points; the rest "
            "are look-alikes that the model does not tell apart: fine detail, or duplicates that features do not show",
            "look at the worst queries; train longer on hard negatives, and tell in captions what sets images apart",
        ),
        "above": (
            "R@1 lies above the ceiling: the groups found hold images that the model does tell apart",
            "trust the model; the ceiling is too low here",
        ),
    }[reading.looks_like]
    steep = reading.looks_like in ("duplicates", "look_alikes")
    severity: Severity = "warning" if steep else "info"
    return Finding(f"profile_{reading.looks_like}", severity, seen, why, do, points=missing if steep else None)
