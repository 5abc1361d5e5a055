"""Whether a model tells anything apart at all."""

from math import sqrt

from tangka_match.analysis.diagnosis.finding import Finding
from tangka_match.analysis.diagnosis.model.scored import Scored

EQUAL = 2e-3
"""Spread of all scores below which a model at chance has collapsed; one that tells pairs apart gives over 0.05."""
CERTAIN = 3.0
"""Standard errors by which the mean rank must beat chance."""


def judge_collapse(scored: Scored) -> Finding | None:
    """Say whether the scores are constant, or rank as chance does; nothing else is worth measuring then.

    Chance puts the right image of a caption at a rank drawn evenly from 1 to I, so that the mean over n independent
    captions has mean (I + 1) / 2 and variance (I² − 1) / 12 n. Captions of one image are not independent: n is I.

    Args:
        scored: The model's view of a split.
    """
    similarity, number = scored.similarity, len(scored.similarity)
    spread = similarity.double().std(correction=0).item()
    chance = (number + 1) / 2
    mean_rank = scored.ranks.t2i.double().mean().item()
    # So few images that chance cannot be beaten by as much: all right answers first are none of its making.
    if mean_rank == 1.0 or chance - mean_rank > CERTAIN * sqrt((number**2 - 1) / 12 / number):
        return None
    ranked = f"a caption's image stands at place {mean_rank:.0f} of {number:,} on average, {chance:g} is chance"
    if spread < EQUAL:
        low, high = similarity.min().item(), similarity.max().item()
        scores = f"are {low:.6g}" if low == high else f"lie between {low:.6g} and {high:.6g}"
        return Finding(
            "collapsed",
            "fault",
            f"all {similarity.numel():,} scores of {scored.split.name} {scores} (spread {spread:.1e}); {ranked}",
            "the model tells nothing apart; hubs, failing words and worst queries mean nothing and are left out",
            "train again from all negatives (loss.hard_negatives=0.0, or loss=curriculum), with a lower optimizer.lr "
            "or a longer scheduler.warmup_steps; the curves of its run (section Training, drawn where run= is given) "
            "show when it happened",
        )
    return Finding(
        "chance",
        "fault",
        f"{ranked}; scores do differ, their spread is {spread:.2g}",
        "the scores say nothing of what belongs together; hubs, failing words and worst queries are left out",
        "look whether captions and images of this set are in the same order, whether it is the set that the model was "
        "trained for, and whether training has only begun",
    )
