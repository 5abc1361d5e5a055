"""The best recall that duplicates leave to any model, and how a profile of recalls compares with it."""

from collections import defaultdict
from collections.abc import Sequence
from math import comb

import numpy as np
import numpy.typing as npt

from tangka_match.analysis.diagnosis.finding import Finding, Section, Severity
from tangka_match.analysis.diagnosis.profile import Reading, read_profile
from tangka_match.metrics import CUTOFFS

TOLD = 1.0
"""Points of R@1 that duplicates must cost before the ceiling is a warning."""


def ceiling(
    image_group: npt.NDArray[np.int64], text_group: npt.NDArray[np.int64], caption_to_image: npt.NDArray[np.int64]
) -> dict[str, float]:
    """Expected recalls, by the raw protocol, of a model that errs nowhere but among duplicates.

    What is estimated: a perfect model, except that it cannot tell apart images of one group, nor captions of one text,
    and guesses among them. The raw protocol counts a query's own partners alone as right. So

    - a caption has M images that fit: the group of its image, and images that have a caption of the same text. Its
      R@K is min(K, M) / M.
    - an image alone in its group goes by the one of its captions that fewest images share, m captions of that text:
      min(K, m) / m. In a group, its n captions are among the M captions of the group, and R@K is the chance that one of
      the first K is among the n: 1 − C(M − n, K) / C(M, K).

    For exact copies this is right: it lies within 0.3 points of the demo oracle, which knows the scenes, at 0, 20 and
    40 % of exact copies (363 pairs, three seeds). For *near* copies it is low, since a caption may name what differs:
    half of the demo's own copies differ in a concept, a third of which are mentioned, and on its validation split the
    estimate lies 0 to 0.3, 1.5 to 2.5 and 3.5 to 4.5 points below the oracle at those shares. It is high where
    duplicates are not found.

    Args:
        image_group: (I,) equal for images that are nearly the same.
        text_group: (C,) equal for captions of the same text.
        caption_to_image: (C,) image of each caption.

    Returns:
        ``i2t_r1`` … ``t2i_r10`` and ``mean_r1`` in percent.

    >>> both = ceiling(np.array([0, 0, 2, 3]), np.arange(4), np.arange(4))
    >>> both["t2i_r1"], both["i2t_r1"], both["t2i_r5"]
    (75.0, 75.0, 100.0)
    """
    members: dict[int, set[int]] = defaultdict(set)
    captions_of: dict[int, list[int]] = defaultdict(list)
    with_text: dict[int, set[int]] = defaultdict(set)
    for image, group in enumerate(image_group.tolist()):
        members[group].add(image)
    for caption, (image, text) in enumerate(zip(caption_to_image.tolist(), text_group.tolist(), strict=True)):
        captions_of[image].append(caption)
        with_text[text].add(image)
    texts, groups = text_group.tolist(), image_group.tolist()
    fitting = [
        len(members[groups[image]] | with_text[texts[caption]])
        for caption, image in enumerate(caption_to_image.tolist())
    ]
    values: dict[str, float] = {}
    for k in CUTOFFS:
        values[f"t2i_r{k}"] = 100.0 * float(np.mean([min(k, m) / m for m in fitting]))
        found = []
        for image, own in captions_of.items():
            together = members[groups[image]]
            if len(together) == 1:
                fewest = min(len(with_text[texts[caption]]) for caption in own)
                found.append(min(k, fewest) / fewest)
            else:
                total = sum(len(captions_of[member]) for member in together)
                found.append(1 - comb(total - len(own), k) / comb(total, k) if total >= k else 1.0)
        values[f"i2t_r{k}"] = 100.0 * float(np.mean(found))
    return values | {"mean_r1": (values["i2t_r1"] + values["t2i_r1"]) / 2}


def diagnose_ceiling(
    name: str,
    image_group: npt.NDArray[np.int64],
    text_group: npt.NDArray[np.int64],
    caption_to_image: npt.NDArray[np.int64],
    profile: Sequence[float] | None,
) -> Section:
    """The ceiling of a split, and how a profile compares with it.

    Args:
        name: Of the split.
        image_group: (I,) equal for images that are nearly the same.
        text_group: (C,) equal for captions of the same text.
        caption_to_image: (C,) image of each caption.
        profile: R@1, R@5, R@10 in percent, of text→image; ``None`` where no model was measured.

    Raises:
        ConfigError: If the profile is not three rising percentages.
    """
    values = ceiling(image_group, text_group, caption_to_image)
    facts = [
        (f"best {words} on {name}", " / ".join(f"{values[f'{direction}_r{k}']:.2f}" for k in CUTOFFS) + " %")
        for direction, words in (("i2t", "image→text R@1 / R@5 / R@10"), ("t2i", "text→image R@1 / R@5 / R@10"))
    ]
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
                f"loses {lost:.1f} points; a caption that says what differs may win some of them back",
                "report recall that counts near-duplicates as right beside the raw one, and clean the split",
                points=lost,
            )
        )
    out: dict[str, object] = {"split": name, **values}
    if profile is not None:
        sizes = np.bincount(image_group)[image_group][caption_to_image]
        reading = read_profile(profile, len(image_group), sizes.tolist(), values["t2i_r1"])
        findings.append(_profile_finding(profile, reading, values["t2i_r1"]))
        facts.append(("profile", " / ".join(f"{recall:.2f}" for recall in profile) + " %"))
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
