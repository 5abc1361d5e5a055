"""Which of Lightning's strategies a run needs."""

from tangka_match.losses import ContextualLoss


def strategy_for(name: str, loss: object, thaw_at: float) -> str:
    """Let several processes train a model of which some parameters get no gradient, at times or ever.

    They wait for a gradient of every parameter, unless they are told to look at each step which ones will have one; as
    that costs time, it is done only where the run needs it.

    Args:
        name: ``trainer.strategy``.
        loss: Of the run; one that reads no scores leaves alone what only scores go through.
        thaw_at: Share of the run up to which a part of the model is frozen.

    >>> from tangka_match.losses import InfoNCELoss
    >>> strategy_for("ddp", InfoNCELoss(), 0.0), strategy_for("ddp", InfoNCELoss(), 0.5)
    ('ddp', 'ddp_find_unused_parameters_true')
    """
    reads_scores = not isinstance(loss, ContextualLoss) or loss.reads_scores
    return "ddp_find_unused_parameters_true" if name == "ddp" and (thaw_at > 0 or not reads_scores) else name
