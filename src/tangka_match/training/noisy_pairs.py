"""Down-weighting of training pairs that are likely mismatched, by their loss (``training.noisy_pairs_from``)."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.losses import LossInputs, LossTerms
from tangka_match.ops import low_component_share
from tangka_match.training.loss_hooks import LossHook, TrainingStep

MEMORY = 0.7
"""Decay of the moving average of a pair's loss."""


@runtime_checkable
class PairwiseLoss(Protocol):
    """A loss that is the mean of one loss per pair."""

    def pair_losses(self, inputs: LossInputs) -> Float[Tensor, " B"]:
        """Compute the loss of each pair, with gradient."""
        ...


def check_weighable(loss: object, begin: float | None) -> None:
    """Check that pair weights, if requested, are used with a `PairwiseLoss`.

    Raises:
        ConfigError: If the loss has no loss per pair.
    """
    if begin is not None and not isinstance(loss, PairwiseLoss):
        raise ConfigError(
            f"training.noisy_pairs_from={begin} weights pairs by their own loss, which {type(loss).__name__} does not "
            "have; choose loss=info_nce, or set training.noisy_pairs_from=null"
        )


class NoisyPairWeights(LossHook):
    """Weights training pairs by the probability that they match, estimated from their loss.

    Networks fit clean pairs before noisy ones, so a mismatched pair keeps a high loss for long. The hook keeps a moving
    average of each pair's training loss. From ``begin`` on, at the first step of each epoch, it fits a mixture of two
    Gaussians to the averages of each training set; a pair's weight is its posterior probability under the component
    of the lower mean. The loss of a batch becomes the weighted mean over its pairs; a pair of low weight remains a
    negative of all others.

    Sources: Li et al., "DivideMix", arXiv:2002.07394; for image-text pairs: Huang et al., "Learning with Noisy
    Correspondence for Cross-modal Matching" (NCR), NeurIPS 2021. Both let two networks divide and then correct the
    pairs for each other; here one network weights its own.

    Recommendations:
        Set ``begin`` late enough that clean pairs already have a low loss. On a set without noisy pairs the hardest
        pairs are down-weighted, which may reduce recall.

    Args:
        sizes: Number of pairs in each training set; pairs are numbered consecutively across sets.
        begin: Progress from which pairs are weighted, in (0, 1).
    """

    name = "pair_trust"  # key in checkpoints since version 0.1

    def __init__(self, sizes: Sequence[int], begin: float) -> None:
        self._sizes = list(sizes)
        self._begin = begin
        self._losses = torch.full((sum(sizes),), float("nan"))
        self._weights = torch.ones(sum(sizes))
        self._fitted_epoch = -1

    @property
    def weights(self) -> Float[Tensor, " C"]:
        """Weight of each training pair in [0, 1]; 1 before ``begin`` and for pairs not seen before the last fit."""
        return self._weights

    def after_loss(self, terms: LossTerms, inputs: LossInputs, step: TrainingStep) -> LossTerms:
        """Update the averages and, from ``begin`` on, replace the total by the weighted mean."""
        assert isinstance(step.loss, PairwiseLoss)
        pair_losses = step.loss.pair_losses(inputs)
        return self.weight_pairs(terms, pair_losses, step.caption_index, epoch=step.epoch, progress=step.progress)

    def weight_pairs(
        self,
        terms: LossTerms,
        pair_losses: Float[Tensor, " B"],
        pairs: Int[Tensor, " B"],
        *,
        epoch: int,
        progress: float,
    ) -> LossTerms:
        """Update the averages and, from ``begin`` on, weight the batch.

        Args:
            terms: Unweighted terms of the batch.
            pair_losses: Loss of each pair.
            pairs: Index of each pair in the training sets.
            epoch: Current epoch, from 0.
            progress: Completed share of the run's optimizer steps.

        Returns:
            ``terms`` before ``begin``; then the weighted total, and the mean weight of the batch as a value.
        """
        self._losses, self._weights = self._losses.to(pair_losses.device), self._weights.to(pair_losses.device)
        if progress >= self._begin and epoch != self._fitted_epoch:
            self._fit(epoch)
        self._update(pair_losses.detach().float(), pairs)
        if self._fitted_epoch < 0:
            return terms
        weights = self._weights[pairs]
        total = (weights * pair_losses).sum() / weights.sum().clamp(min=1e-6)
        return terms._replace(total=total, values={**terms.values, "pair_weight": weights.mean()})

    def state_dict(self) -> dict[str, Any]:
        """Return averages, weights, and the epoch of the last fit."""
        return {"losses": self._losses.cpu(), "weights": self._weights.cpu(), "weighed_epoch": self._fitted_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self._losses, self._weights = state_dict["losses"].clone(), state_dict["weights"].clone()
        self._fitted_epoch = state_dict["weighed_epoch"]

    def _update(self, losses: Float[Tensor, " B"], pairs: Int[Tensor, " B"]) -> None:
        known = self._losses[pairs]
        self._losses[pairs] = torch.where(known.isnan(), losses, MEMORY * known + (1 - MEMORY) * losses)

    def _fit(self, epoch: int) -> None:
        self._fitted_epoch = epoch
        for losses, weights in zip(self._losses.split(self._sizes), self._weights.split(self._sizes), strict=True):
            seen = ~losses.isnan()
            if seen.any():
                weights[seen] = low_component_share(losses[seen]).to(weights)
