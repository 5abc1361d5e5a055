"""Fusion of the scores of an ensemble: a common scale, and weights that are chosen on validation queries."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.metrics import retrieval_ranks, summarise

FUSIONS = ("mean", "standardised", "rank")
"""Fusions of the scores of an ensemble: the mean of scores, of standardised scores, or of `rank_scores`."""

ROUNDS = 20
"""Rounds of `select_weights`: weights are multiples of 1/n, with n up to 20."""

_FLAT = 1e-6
"""Standard deviation, relative to the largest score, up to which a model has collapsed and its scores are rounding."""


def on_common_scale(
    similarity: Float[Tensor, "I C"], others: Sequence[Float[Tensor, "_ _"]], fusion: str
) -> list[Float[Tensor, "_ _"]]:
    """Bring the scores of a model to the scale on which a fusion averages models.

    Args:
        similarity: Scores of a split, (I, C), which define the scale.
        others: Further scores of the same model, for the same scale.
        fusion: ``"mean"``, as they are; ``"standardised"``, divided by the standard deviation of ``similarity`` (one
            number per model; scores of a collapsed model stay as they are, so that they do not drown the others); or
            ``"rank"``, see `rank_scores`.

    Returns:
        ``similarity`` and ``others`` on that scale.

    Raises:
        ConfigError: If ``fusion`` is unknown.
    """
    if fusion not in FUSIONS:
        raise ConfigError(f"fusion={fusion!r}: allowed are {', '.join(FUSIONS)}")
    if fusion == "standardised":
        scale = similarity.std()
        if scale <= _FLAT * similarity.abs().max():
            return [similarity, *others]
        return [scores / scale for scores in (similarity, *others)]
    if fusion == "rank":
        return [rank_scores(similarity, scores) for scores in (similarity, *others)]
    return [similarity, *others]


def weighted_mean(scores: Sequence[Float[Tensor, "N M"]], weights: Sequence[float] | None) -> Float[Tensor, "N M"]:
    """Average the scores of models; ``weights`` need not sum to 1, and ``None`` weights all equally.

    Raises:
        ConfigError: If there is not one weight >= 0 per model, or all are 0.

    Example:
        >>> weighted_mean([torch.tensor([[1.0, 2.0]]), torch.tensor([[5.0, 2.0]])], [3, 1])
        tensor([[2., 2.]])
    """
    if weights is None:
        return torch.stack(list(scores)).mean(dim=0)
    total = sum(weights)
    if len(weights) != len(scores) or min(weights) < 0 or total <= 0:
        raise ConfigError(f"weights={list(weights)} of {len(scores)} models: give one >= 0 for each, not all of them 0")
    return torch.stack([(weight / total) * one for weight, one in zip(weights, scores, strict=True)]).sum(dim=0)


def select_weights(scores: Sequence[Float[Tensor, "I C"]], owners: Int[Tensor, " C"]) -> list[float]:
    """Choose the weights of the models of an ensemble on validation queries.

    Forward selection with replacement (Caruana et al. 2004, "Ensemble Selection from Libraries of Models"): each of 20
    rounds adds, once more, the model with which the mean of all that were added has the highest rsum. The weights are
    the shares after the best round, so a model that does not help gets 0, and on these queries no single model is
    better.

    Args:
        scores: Scores of each model on the common scale of a fusion, (I, C).
        owners: Row of the image of each caption, (C,).

    Returns:
        One weight per model; they sum to 1.

    Example:
        >>> right, wrong = torch.eye(3), 1 - torch.eye(3)
        >>> select_weights([wrong, right], torch.arange(3))
        [0.0, 1.0]
    """
    counts, best, weights = [0] * len(scores), -1.0, [0.0] * len(scores)
    added = torch.zeros_like(scores[0])
    for round_number in range(1, ROUNDS + 1):
        found = [_rsum(added + one, owners) for one in scores]
        chosen = max(range(len(scores)), key=found.__getitem__)
        counts[chosen] += 1
        added = added + scores[chosen]
        if found[chosen] > best:
            best, weights = found[chosen], [count / round_number for count in counts]
    return weights


def _rsum(scores: Float[Tensor, "I C"], owners: Int[Tensor, " C"]) -> float:
    return summarise(retrieval_ranks(scores, owners))["rsum"]


def rank_scores(similarity: Float[Tensor, "I C"], values: Float[Tensor, "N M"] | None = None) -> Float[Tensor, "N M"]:
    """Replace scores by the negative logarithm of their rank among all scores of the matrix.

    The mean of such matrices over models is the rank product (Breitling et al. 2004, FEBS Letters 573:83-92): models
    have equal weight whatever the scale of their scores, and top ranks count more than low ones. The order of the
    scores of a single model does not change. Ties: equal scores stay equal, and take the best of their ranks.

    Args:
        similarity: Scores of one model, (I, C).
        values: Other scores of the same model, (N, M), to rank among those of ``similarity``; ``similarity`` itself if
            ``None``.

    Returns:
        Float32 values, 0 for the best score and negative for the others; NaN stays NaN, so that ranking refuses it.

    Example:
        >>> torch.exp(-rank_scores(torch.tensor([[0.9, 0.1], [0.3, 0.3]])))
        tensor([[1., 4.],
                [2., 2.]])
    """
    ordered = similarity.flatten().sort().values
    asked = (similarity if values is None else values).contiguous()
    better = len(ordered) - torch.searchsorted(ordered, asked, right=True)
    return -torch.log1p(better.double()).float().masked_fill(asked.isnan(), float("nan"))
