"""Ranks at chance level: of a collapsed model, or in one direction only."""

from math import sqrt

from tangka_match.analysis.diagnosis.finding import Finding
from tangka_match.analysis.diagnosis.model.hubs import NOUNS, Hubs, name_of
from tangka_match.analysis.diagnosis.model.scored import Scored
from tangka_match.metric_names import DIRECTION_LABELS
from tangka_match.metrics import summarise

MIN_SCORE_STD = 2e-3
"""Standard deviation of all scores below which a model at chance level has collapsed; trained models exceed 0.05."""
MIN_STANDARD_ERRORS = 3.0
"""Standard errors by which the mean rank must be better than chance."""
RANK_LABELS = {"i2t": "an image's best caption", "t2i": "a caption's image"}


def judge_collapse(scored: Scored) -> Finding | None:
    """Report a model with ranks at chance level in both directions; other measurements are then meaningless.

    Args:
        scored: Scores and ranks of a split.
    """
    if not (is_at_chance(scored, "t2i") and is_at_chance(scored, "i2t")):
        return None
    similarity = scored.similarity
    spread = similarity.double().std(correction=0).item()
    ranked = _mean_rank(scored, "t2i")
    if spread < MIN_SCORE_STD:
        low, high = similarity.min().item(), similarity.max().item()
        scores = f"are {low:.6g}" if low == high else f"are between {low:.6g} and {high:.6g}"
        return Finding(
            "collapsed",
            "fault",
            f"all {similarity.numel():,} scores of {scored.split.name} {scores} (standard deviation {spread:.1e}); "
            f"{ranked}",
            "the model has collapsed; hubs, failing words and worst queries would be meaningless and are omitted",
            "train again with all negatives (loss.hard_negatives=0.0, or loss=curriculum), with a lower optimizer.lr "
            "or a longer scheduler.warmup_steps; the curves of the run (section Training, needs run=) show when it "
            "collapsed",
        )
    return Finding(
        "chance",
        "fault",
        f"{ranked}, and image→text is at chance level as well; the scores are not constant (standard deviation "
        f"{spread:.2g})",
        "the scores do not reflect which captions and images match; hubs, failing words and worst queries are omitted",
        "check that captions and images are in the same order, that the model was trained for this set, and that "
        "training has not only just begun",
    )


def judge_direction(scored: Scored, hubs: dict[str, Hubs]) -> Finding | None:
    """Report the only direction at chance level, with the item that most queries rank first.

    Args:
        scored: Scores and ranks of a split.
        hubs: k-occurrences of both directions.
    """
    failing = [direction for direction in NOUNS if is_at_chance(scored, direction)]
    if len(failing) != 1:
        return None
    (direction,) = failing
    working = "i2t" if direction == "t2i" else "t2i"
    recall = summarise(scored.ranks)[f"{working}_r1"]
    item_noun, query_noun = NOUNS[direction]
    counted = hubs[direction]
    hub = counted.strongest(1)[0]
    named = name_of(scored, direction, hub)
    return Finding(
        f"chance_{direction}",
        "fault",
        f"only {DIRECTION_LABELS[direction]} is at chance level, while {DIRECTION_LABELS[working]} R@1 is "
        f"{recall:.1f} %; {named if direction == 'i2t' else f'image {named}'} is ranked first for "
        f"{int(counted.first[hub]):,} of {counted.queries:,} {query_noun}; {_mean_rank(scored, direction)}",
        f"the scores differ more between {item_noun}s than between matching and other pairs, so all {query_noun} rank "
        f"the {item_noun}s in much the same order; this does not affect the other direction",
        "use a hubness correction, which removes the common level of an item (tangka_match.evaluate "
        f"'hubness=[qb_norm]'), or train longer; inspect the {item_noun}s that are ranked first most often",
    )


def is_at_chance(scored: Scored, direction: str) -> bool:
    """Whether the mean rank is not significantly better than that of random scores.

    At chance level the best rank of m correct answers among G is that of the smallest of m numbers drawn from 1 … G
    without replacement: its mean is (G + 1) / (m + 1), its variance m (G + 1) (G − m) / ((m + 1)² (m + 2)). Captions of
    an image are not independent, so the mean over all queries has the variance of I independent ones.

    Args:
        scored: Scores and ranks of a split.
        direction: ``i2t`` or ``t2i``.
    """
    scores, own, ranks = scored.direction(direction)
    gallery, correct = scores.shape[1], own.sum(dim=1).double()
    mean = ranks.double().mean().item()
    if mean == 1.0:
        # With very few images no mean rank is much better than chance, but a perfect ranking is not chance.
        return False
    variance = correct * (gallery + 1) * (gallery - correct) / ((correct + 1).square() * (correct + 2))
    error = sqrt(variance.mean().item() / len(scored.similarity))
    return _chance_rank(scored, direction) - mean <= MIN_STANDARD_ERRORS * error


def _chance_rank(scored: Scored, direction: str) -> float:
    scores, own, _ = scored.direction(direction)
    return ((scores.shape[1] + 1) / (own.sum(dim=1).double() + 1)).mean().item()


def _mean_rank(scored: Scored, direction: str) -> str:
    scores, _, ranks = scored.direction(direction)
    return (
        f"the mean rank of {RANK_LABELS[direction]} is {ranks.double().mean().item():.0f} of {scores.shape[1]:,}, and "
        f"{_chance_rank(scored, direction):.4g} is chance level"
    )
