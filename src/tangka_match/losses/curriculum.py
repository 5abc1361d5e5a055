"""Curriculum loss: weighted sum of the triplet loss and InfoNCE, from easy to hard negatives."""

from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.losses.base import LossInputs, LossTerms
from tangka_match.losses.components import LogitScale, check_range, temperature_of
from tangka_match.losses.info_nce import info_nce_loss
from tangka_match.losses.schedules import Schedule, Scheduled, apply_schedules
from tangka_match.losses.triplet_margin import triplet_margin_loss


class CurriculumLoss(nn.Module):
    r"""Weighted sum of the triplet loss and InfoNCE with scheduled weights, hardness, margin and temperature.

    .. math:: L = w_T \, L_\text{triplet}(m, h) + w_N \, L_\text{InfoNCE}(\tau)

    with the margin :math:`m`, the share :math:`h` of the hardest negative, and the temperature :math:`\tau`.

    Training on the hardest negatives from the first step collapses small data sets (all scores equal), but hardest
    negatives improve R@1 late in training. The default therefore moves from InfoNCE and all negatives to the hardest
    negative. Each ``[start, end]`` may be one number, which is constant; all schedules share ``begin``, ``until`` and
    ``shape``.

    Args:
        triplet_weight: Weight of `triplet_margin_loss`, >= 0.
        info_nce_weight: Weight of `info_nce_loss`, >= 0; the two weights may not both be 0 at the same end.
        hard_negatives: Share of the hardest negative: 0 = mean over all negatives, 1 = hardest negative only.
        margin: Minimum gap between positive and negative scores, >= 0.
        temperature: Divisor of the scores in InfoNCE, >= ``min_temperature``; with ``learn_temperature`` only the
            start value is used.
        begin: Progress at which values start to change, in [0, 1].
        until: Progress at which values reach their end, in [``begin``, 1].
        shape: ``"linear"`` or ``"cosine"``.
        learn_temperature: Whether to learn the temperature, as a parameter of this module.
        min_temperature: Lowest temperature, > 0.
        label_smoothing: Share of InfoNCE's target that is spread over all candidates, in [0, 0.999].

    Raises:
        ConfigError: If a setting is out of range, or both weights are 0 at one end.

    Relations:
        Same as `BlendLoss` of ``TripletMarginLoss`` and ``InfoNCELoss`` when margin, hardness and temperature are
        constant.

    Example:
        >>> import torch
        >>> loss = CurriculumLoss(hard_negatives=[0.0, 1.0], margin=0.2, until=0.5)
        >>> apply_schedules(loss, progress=0.25)
        >>> pairs = torch.eye(3, dtype=torch.bool)
        >>> loss(LossInputs(pairs.float(), pairs)).values["hard_negatives"]
        0.5
    """

    triplet_weight: float
    info_nce_weight: float
    hard_negatives: float
    margin: float
    temperature: float

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
        check_range("label_smoothing", label_smoothing, 0.0, 0.999, "at 1 the matching pair would have no weight")
        self.label_smoothing = float(label_smoothing)
        first = self.schedules["temperature"].start
        self.logit_scale = LogitScale(first, min_temperature) if learn_temperature else None
        apply_schedules(self, 0.0)

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the weighted sum with the current settings; ``values`` holds the five settings."""
        settings = {name: float(getattr(self, name)) for name in self.schedules}
        values: dict[str, float | Tensor] = {**settings}
        learnt = None if self.logit_scale is None else self.logit_scale()
        if learnt is not None:
            values["temperature"] = temperature_of(learnt)
        scale = 1.0 / self.temperature if learnt is None else learnt
        parts = {
            "triplet": triplet_margin_loss(inputs.similarity, inputs.positives, self.margin, self.hard_negatives),
            "info_nce": info_nce_loss(inputs.similarity, inputs.positives, scale, self.label_smoothing),
        }
        weighted = {name: settings[f"{name}_weight"] * part for name, part in parts.items()}
        return LossTerms(
            weighted["triplet"] + weighted["info_nce"],
            {name: part.detach() for name, part in parts.items()},
            values,
            {name: part for name, part in weighted.items() if self._is_used(name)},
        )

    def _is_used(self, part: str) -> bool:
        weight = self.schedules[f"{part}_weight"]
        return weight.start > 0 or weight.end > 0


def _check_settings(schedules: dict[str, Schedule], min_temperature: float) -> None:
    """Check the ranges of both ends, and that at least one weight is positive at each end."""
    ranges = {
        "triplet_weight": (0.0, float("inf"), "a negative weight would reward errors"),
        "info_nce_weight": (0.0, float("inf"), "a negative weight would reward errors"),
        "hard_negatives": (0.0, 1.0, "0 = mean over all negatives, 1 = hardest negative only"),
        "margin": (0.0, float("inf"), "positive pairs must score higher than negatives"),
        "temperature": (min_temperature, float("inf"), "min_temperature is its minimum"),
    }
    for name, (low, high, advice) in ranges.items():
        for value in (schedules[name].start, schedules[name].end):
            check_range(name, value, low, high, advice)
    triplet, info_nce = schedules["triplet_weight"], schedules["info_nce_weight"]
    if triplet.start + info_nce.start == 0 or triplet.end + info_nce.end == 0:
        raise ConfigError(
            f"triplet_weight=[{triplet.start}, {triplet.end}] and info_nce_weight=[{info_nce.start}, {info_nce.end}] "
            "are both 0 at one end of the schedule, where nothing would be learnt; make one of them positive there"
        )
