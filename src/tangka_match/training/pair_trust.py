"""Weights of training pairs by the running model: pairs of high loss are likely mismatched, and count less."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.losses import LossTerms
from tangka_match.ops import low_component_share

MEMORY = 0.7
"""How much of its remembered loss a pair keeps when it is seen again."""


@runtime_checkable
class PairwiseLoss(Protocol):
    """A loss that can say what each pair contributes."""

    def pair_losses(self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"]) -> Float[Tensor, " B"]:
        """Return the loss of each pair, with gradient; their mean is the loss."""
        ...


def check_weighable(loss: object, begin: float | None) -> None:
    """Refuse to weigh the pairs of a loss that cannot say what each contributes.

    Raises:
        ConfigError: If that is asked for.
    """
    if begin is not None and not isinstance(loss, PairwiseLoss):
        raise ConfigError(
            f"training.noisy_pairs_from={begin} weighs pairs by their own loss, and {type(loss).__name__} has none a "
            "pair: take loss=info_nce, or set training.noisy_pairs_from=null"
        )


class PairTrust:
    """Remembers the loss of every training pair, and weighs pairs by it in the later part of a run.

    Networks fit right pairs before wrong ones, so that a mismatched pair keeps a high loss for long. A moving average
    of each pair's own training loss is kept. Two Gaussians are fitted to the averages at the first step that is not
    before ``begin``, and again at the first step of each later epoch; the weight of a pair is the probability that its
    average comes from the lower one. The loss of a batch is then the weighted mean over its pairs; a pair of low weight
    is still a negative of all others. Before ``begin`` the loss is left as it is.

    Sources: Li et al., "DivideMix", arXiv:2002.07394 (small loss, mixture of two); Huang et al., "Learning with Noisy
    Correspondence for Cross-modal Matching" (NCR), NeurIPS 2021, the same for image-text pairs. Both train two networks
    that divide the pairs for each other and go on to correct them; here one network weighs its own.

    ``begin`` has to leave time to learn: while right pairs still have a high loss they are not told from wrong ones.
    In a set without wrong pairs there are two Gaussians too: its hardest pairs then count less, which may cost recall.
    Where several sets are mixed, each has Gaussians of its own: the harder set is not the noisier one.

    Args:
        sizes: Pairs of each training set; pairs are numbered through.
        begin: Share of the run, in (0, 1), after which pairs are weighted.
    """

    def __init__(self, sizes: Sequence[int], begin: float) -> None:
        self._sizes = list(sizes)
        self._begin = begin
        self._losses = torch.full((sum(sizes),), float("nan"))
        self._weights = torch.ones(sum(sizes))
        self._weighed_epoch = -1

    @property
    def weights(self) -> Float[Tensor, " C"]:
        """In [0, 1], of each training pair; 1 before ``begin``, and of a pair first seen after the last fit."""
        return self._weights

    def weigh(
        self,
        terms: LossTerms,
        pair_losses: Float[Tensor, " B"],
        pairs: Int[Tensor, " B"],
        *,
        epoch: int,
        progress: float,
    ) -> LossTerms:
        """Remember the losses and, from ``begin`` on, put their weighted mean into the place of the total.

        Args:
            terms: Of the batch, unweighted.
            pair_losses: Of each of its B pairs.
            pairs: Their numbers in the training set.
            epoch: Of the run, from 0.
            progress: Share of the run that is done.

        Returns:
            ``terms`` before ``begin``; later with another total, and the batch's mean weight among the values.
        """
        self._losses, self._weights = self._losses.to(pair_losses.device), self._weights.to(pair_losses.device)
        if progress >= self._begin and epoch != self._weighed_epoch:
            self._divide(epoch)
        self._remember(pair_losses.detach().float(), pairs)
        if self._weighed_epoch < 0:
            return terms
        weights = self._weights[pairs]
        total = (weights * pair_losses).sum() / weights.sum().clamp(min=1e-6)
        return terms._replace(total=total, values={**terms.values, "pair_weight": weights.mean().item()})

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep."""
        return {"losses": self._losses.cpu(), "weights": self._weights.cpu(), "weighed_epoch": self._weighed_epoch}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._losses, self._weights = state["losses"].clone(), state["weights"].clone()
        self._weighed_epoch = state["weighed_epoch"]

    def _remember(self, losses: Float[Tensor, " B"], pairs: Int[Tensor, " B"]) -> None:
        known = self._losses[pairs]
        self._losses[pairs] = torch.where(known.isnan(), losses, MEMORY * known + (1 - MEMORY) * losses)

    def _divide(self, epoch: int) -> None:
        self._weighed_epoch = epoch
        for losses, weights in zip(self._losses.split(self._sizes), self._weights.split(self._sizes), strict=True):
            seen = ~losses.isnan()
            if seen.any():
                weights[seen] = low_component_share(losses[seen]).to(weights)
