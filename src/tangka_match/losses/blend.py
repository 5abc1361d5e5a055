"""Blend loss: weighted sum of any losses, with scheduled weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.losses.base import ContextualLoss, LossInputs, LossTerms, collapse_value, needs_context
from tangka_match.losses.components import check_range
from tangka_match.losses.schedules import Schedule, Scheduled, apply_schedules


class BlendLoss(ContextualLoss):
    r"""Weighted sum of named losses, :math:`L = \sum_i w_i L_i`; each weight is constant or scheduled.

    A part is logged under its name, with ``<name>_weight`` and its own values as ``<name>_<value>``; parts of several
    terms are logged as ``<name>_<term>``. Parts whose weight is 0 throughout are dropped.

    Args:
        parts: Losses by name.
        weights: Weights by the same names, >= 0: one number, or ``[start, end]``; they may not all be 0 at one end.
        begin: Progress at which weights start to change, in [0, 1].
        until: Progress at which weights reach their end, in [``begin``, 1].
        shape: ``"linear"`` or ``"cosine"``.

    Raises:
        ConfigError: If the names of parts and weights differ, a setting is out of range, all weights are 0 at one end,
            or two parts require different momenta of the momentum encoder.

    Relations:
        `CurriculumLoss` blends the triplet loss and InfoNCE, and also schedules margin, hardness and temperature.

    Example:
        >>> from tangka_match.losses import InfoNCELoss, TripletMarginLoss
        >>> parts = {"info_nce": InfoNCELoss(), "triplet": TripletMarginLoss(margin=0.2)}
        >>> loss = BlendLoss(parts, {"info_nce": 1.0, "triplet": [0.0, 2.0]}, until=0.5)
        >>> apply_schedules(loss, progress=0.25)
        >>> pairs = torch.eye(3, dtype=torch.bool)
        >>> loss(LossInputs(pairs.float(), pairs)).values["triplet_weight"]
        1.0
    """

    def __init__(
        self,
        parts: Mapping[str, nn.Module],
        weights: Mapping[str, Scheduled],
        begin: float | int = 0.0,
        until: float | int = 1.0,
        shape: str = "linear",
    ) -> None:
        super().__init__()
        if set(parts) != set(weights):
            raise ConfigError(f"parts={sorted(parts)} and weights={sorted(weights)}: give each part one weight")
        schedules = {
            name: Schedule.read(f"weights.{name}", weights[name], begin=begin, until=until, shape=shape)
            for name in parts
        }
        _check_weights(schedules)
        used = {name: s for name, s in schedules.items() if s.start > 0 or s.end > 0}
        self.schedules = {f"{name}_weight": schedule for name, schedule in used.items()}
        self.parts = nn.ModuleDict({name: parts[name] for name in used})
        self.needs_context = any(needs_context(part) for part in self.parts.values())
        self.needs_pooled = any(isinstance(p, ContextualLoss) and p.needs_pooled for p in self.parts.values())
        self.reads_scores = any(not isinstance(p, ContextualLoss) or p.reads_scores for p in self.parts.values())
        asked = [part.key_momentum for part in self.parts.values() if isinstance(part, ContextualLoss)]
        momenta = {momentum for momentum in asked if momentum is not None}
        if len(momenta) > 1:
            raise ConfigError(
                f"key_momentum={sorted(momenta)}: there is one momentum encoder; give all parts the same value"
            )
        self.key_momentum = next(iter(momenta), None)
        apply_schedules(self, 0.0)

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the weighted sum with the current weights."""
        totals: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        values: dict[str, float | Tensor] = {}
        weighted: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            found, weight = part(inputs), self._weight(name)
            totals.append(weight * found.total)
            terms |= {_join(name, term, len(found.terms)): value for term, value in found.terms.items()}
            values |= {f"{name}_weight": weight} | {f"{name}_{key}": value for key, value in found.values.items()}
            own = found.weighted or {name: found.total}
            weighted |= {_join(name, term, len(own)): weight * value for term, value in own.items()}
        return LossTerms(torch.stack(totals).sum(), terms, values, weighted)

    def collapse_value(self, inputs: LossInputs) -> float:
        """Compute the weighted sum of the parts' collapse values."""
        return sum(self._weight(name) * collapse_value(part, inputs) for name, part in self.parts.items())

    def _weight(self, name: str) -> float:
        return float(getattr(self, f"{name}_weight"))


def _join(part: str, term: str, count: int) -> str:
    return part if count == 1 else f"{part}_{term}"


def _check_weights(schedules: Mapping[str, Schedule]) -> None:
    for name, schedule in schedules.items():
        for value in (schedule.start, schedule.end):
            check_range(f"weights.{name}", value, 0.0, float("inf"), "a negative weight would reward errors")
    for end, values in (("start", [s.start for s in schedules.values()]), ("end", [s.end for s in schedules.values()])):
        if sum(values) == 0:
            raise ConfigError(f"weights={list(schedules)} are all 0 at the {end} of the run; make one of them positive")
