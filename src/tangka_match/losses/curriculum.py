"""The curriculum-weighted contrastive loss: triplet and InfoNCE, from easy to hard over a run."""

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.losses.base import LogitScale, LossTerms, check_range
from tangka_match.losses.info_nce import info_nce_collapse_value, info_nce_loss
from tangka_match.losses.schedules import Schedule
from tangka_match.losses.triplet_margin import triplet_collapse_value, triplet_margin_loss

Scheduled = float | int | Sequence[float | int]
"""One number for the whole run, or ``[start, end]``."""


class CurriculumLoss(nn.Module):
    """Weighted sum of the triplet and the InfoNCE loss, whose weights and hardness move with the run.

    ``w_triplet(p) * triplet + w_info_nce(p) * info_nce``, where ``p`` is the share of the run's optimizer steps taken.
    The hardest negative alone collapses a fresh model on small data (all scores equal), while it is what sharpens R@1
    at the end; so the run starts from InfoNCE and the mean over all negatives, and moves to the hardest one. Plain
    numbers in place of pairs give the fixed combination of the two losses.

    Every setting that is written ``[start, end]`` may be one number. All pairs share ``begin``, ``until``, ``shape``.

    Args:
        triplet_weight: Weight of `triplet_margin_loss`, >= 0.
        info_nce_weight: Weight of `info_nce_loss`, >= 0; not both weights may be 0 at the same end.
        hard_negatives: 0 = the mean over all negatives, 1 = the hardest alone.
        margin: By how much a pair must beat its negatives, in units of the score, >= 0.
        temperature: Scores are divided by it in InfoNCE, >= ``min_temperature``. With ``learn_temperature`` its first
            number is the value at the start and the second is not used.
        begin: Progress at which values start to move, in [0, 1].
        until: Progress at which they have arrived, in [``begin``, 1].
        shape: ``"linear"`` or ``"cosine"``.
        learn_temperature: Learn the temperature with the model; it is then a parameter of this module, which the
            optimiser must be given.
        min_temperature: The lowest temperature allowed, > 0.
        label_smoothing: Share of InfoNCE's target spread over all candidates, in [0, 0.999].

    Raises:
        ConfigError: If a setting is out of range, or both weights are 0 at one end.

    Example:
        >>> import torch
        >>> loss = CurriculumLoss(hard_negatives=[0.0, 1.0], margin=0.2, until=0.5)
        >>> pairs = torch.eye(3, dtype=torch.bool)
        >>> loss(pairs.float(), pairs, progress=0.25).values["hard_negatives"]
        0.5
    """

    def __init__(
        self,
        *,
        triplet_weight: Scheduled = (0.5, 1.0),
        info_nce_weight: Scheduled = (1.0, 0.5),
        hard_negatives: Scheduled = (0.0, 1.0),
        margin: Scheduled = (0.1, 0.2),
        temperature: Scheduled = (0.1, 0.05),
        begin: float | int = 0.0,
        until: float | int = 0.5,
        shape: str = "linear",
        learn_temperature: bool = False,
        min_temperature: float | int = 0.01,
        label_smoothing: float | int = 0.0,
    ) -> None:
        super().__init__()
        settings = {
            "triplet_weight": triplet_weight,
            "info_nce_weight": info_nce_weight,
            "hard_negatives": hard_negatives,
            "margin": margin,
            "temperature": temperature,
        }
        self.schedules = {
            name: Schedule.read(name, value, begin=begin, until=until, shape=shape) for name, value in settings.items()
        }
        _check_settings(self.schedules, float(min_temperature))
        check_range("label_smoothing", label_smoothing, 0.0, 0.999, "at 1 the matching pair would count for nothing")
        self.label_smoothing = float(label_smoothing)
        first = self.schedules["temperature"].start
        self.logit_scale = LogitScale(first, min_temperature) if learn_temperature else None

    def forward(
        self, similarity: Float[Tensor, "B B"], positives: Bool[Tensor, "B B"], progress: float | int = 1.0
    ) -> LossTerms:
        """Measure the batch with the settings in force at ``progress``.

        Args:
            similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal.
            positives: (B, B), ``True`` where row and column are no negatives of each other.
            progress: Share of the run's optimizer steps already taken, in [0, 1].

        Returns:
            The weighted sum; the two terms before weighting; the five settings in force; the two weighted terms.

        Raises:
            ShapeError: If the matrices are not square, differ in shape, or the diagonal is not positive.
        """
        now = {name: schedule(progress) for name, schedule in self.schedules.items()}
        learnt = None if self.logit_scale is None else self.logit_scale()
        if learnt is not None:
            now["temperature"] = learnt.detach().reciprocal().item()
        scale = 1.0 / now["temperature"] if learnt is None else learnt
        triplet = triplet_margin_loss(similarity, positives, now["margin"], now["hard_negatives"])
        info_nce = info_nce_loss(similarity, positives, scale, self.label_smoothing)
        terms = {"triplet": triplet, "info_nce": info_nce}
        weighted = {name: now[f"{name}_weight"] * term for name, term in terms.items()}
        total = weighted["triplet"] + weighted["info_nce"]
        return LossTerms(
            total,
            {name: term.detach() for name, term in terms.items()},
            now,
            {name: part for name, part in weighted.items() if self._is_used(name)},
        )

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Loss when all scores are equal: the weighted sum of the two terms' collapse values."""
        now = {name: schedule(progress) for name, schedule in self.schedules.items()}
        triplet = triplet_collapse_value(positives, now["margin"])
        return now["triplet_weight"] * triplet + now["info_nce_weight"] * info_nce_collapse_value(positives)

    def _is_used(self, term: str) -> bool:
        weight = self.schedules[f"{term}_weight"]
        return weight.start > 0 or weight.end > 0


def _check_settings(schedules: dict[str, Schedule], min_temperature: float) -> None:
    """Refuse ends outside their range, and a run that would have no loss at one end."""
    ranges = {
        "triplet_weight": (0.0, float("inf"), "a negative weight would reward mistakes"),
        "info_nce_weight": (0.0, float("inf"), "a negative weight would reward mistakes"),
        "hard_negatives": (0.0, 1.0, "0 = mean of all negatives, 1 = the hardest alone"),
        "margin": (0.0, float("inf"), "a pair cannot be asked to lose to its negatives"),
        "temperature": (min_temperature, float("inf"), "min_temperature is its floor"),
    }
    for name, (low, high, advice) in ranges.items():
        for value in (schedules[name].start, schedules[name].end):
            check_range(name, value, low, high, advice)
    triplet, info_nce = schedules["triplet_weight"], schedules["info_nce_weight"]
    if triplet.start + info_nce.start == 0 or triplet.end + info_nce.end == 0:
        raise ConfigError(
            f"triplet_weight=[{triplet.start}, {triplet.end}] and info_nce_weight=[{info_nce.start}, {info_nce.end}] "
            "are both 0 at one end of the schedule, where nothing would be learnt; give one of them a weight there"
        )
