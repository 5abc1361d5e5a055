"""Section of a diagnosis on the pairs of a cross-validation, each ranked by the model that did not see it."""

from collections import Counter

from tangka_match.analysis.diagnosis.finding import Finding, Section
from tangka_match.analysis.diagnosis.pairs.suspects import (
    MAX_SHARE,
    MIN_PROBABILITY,
    OUTLIER,
    REASONS,
    SWAPPED,
    UNKNOWN,
    SuspectList,
)
from tangka_match.data.exclude import Excluded
from tangka_match.errors import count

LOOK = "look through pairs.html, tick the wrong pairs, save the list, and train with data.exclude=<that file>"


def diagnose_pairs(found: SuspectList, folds: str) -> Section:
    """Summarise the list of pairs.

    Args:
        found: Pairs with reasons.
        folds: Description of the folds, from ``describe_folds``.
    """
    suspects = found.suspects
    reasons = Counter(reason for pair in suspects for reason in pair.reasons)
    galleries = sorted({pair.gallery for pair in suspects})
    sizes = f"{galleries[0]:,}" if len(galleries) == 1 else f"{galleries[0]:,} to {galleries[-1]:,}"
    expected = sum(pair.probability for pair in suspects if SWAPPED in pair.reasons)
    facts = [
        ("pairs", f"{len(suspects):,}, in {folds} with galleries of {sizes} images"),
        ("estimated share of mismatched pairs", f"{100 * found.share:.1f} %, or fewer"),
        *((reason, count(reasons[reason], "pair")) for reason in REASONS),
    ]
    values = {"pairs": len(suspects), "share": found.share, "expected_swapped": expected, "reasons": dict(reasons)}
    findings = []
    if not found.is_usable:
        findings.append(_too_weak(found))
    if reasons[SWAPPED]:
        findings.append(
            Finding(
                "swapped_captions",
                "warning",
                f"{count(reasons[SWAPPED], 'pair')} of {len(suspects):,} probably mismatched: models that did not "
                f"train on them score them like random pairs (probability at least {MIN_PROBABILITY:.0%}); about "
                f"{expected:.0f} of them are expected to be wrong",
                "a wrong pair pulls an image towards a caption of something else",
                LOOK,
                ids=_names(found, SWAPPED),
            )
        )
    if reasons[UNKNOWN]:
        findings.append(
            Finding(
                "no_known_words",
                "warning",
                f"{count(reasons[UNKNOWN], 'caption')} without a word that other captions contain",
                "often text in another language or encoding; such a caption teaches nothing about the others",
                LOOK,
                ids=_names(found, UNKNOWN),
            )
        )
    if reasons[OUTLIER]:
        findings.append(
            Finding(
                "outlier_pictures",
                "info",
                f"{count(reasons[OUTLIER], 'pair')} with a picture whose features are far from those of all others",
                "it may be a blank scan, a logo, or a picture of something else",
                LOOK,
                ids=_names(found, OUTLIER),
            )
        )
    return Section("pairs", "Pairs, ranked by models that did not see them", facts, findings, values=values)


def _too_weak(found: SuspectList) -> Finding:
    return Finding(
        "models_too_weak",
        "info",
        f"the models score {100 * found.share:.0f} % of the held-out pairs like random pairs, more than "
        f"{MAX_SHARE:.0%}: no pair is reported as swapped",
        "most of these pairs are correct, and only too difficult for the models",
        "train the folds with a better recipe",
    )


def _names(found: SuspectList, reason: str) -> tuple[str, ...]:
    return tuple(describe_name(pair.name) for pair in found.suspects if reason in pair.reasons)


def describe_name(name: Excluded) -> str:
    """Name a pair by its image, and by the number of its caption if that is not the first.

    >>> describe_name(Excluded("a", 1)), describe_name(Excluded("a", 3))
    ('a', 'a caption 3')
    """
    return name.image if name.caption in (1, None) else f"{name.image} caption {name.caption}"
