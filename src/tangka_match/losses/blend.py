"""Any losses together, with weights that move with the run."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.losses.base import LossTerms, check_range
from tangka_match.losses.context import ContextualLoss, PairContext, measure, needs_context
from tangka_match.losses.curriculum import Scheduled
from tangka_match.losses.schedules import Schedule


class BlendLoss(ContextualLoss):
    """Weighted sum of named losses; each weight is one number, or moves from ``start`` to ``end``.

    A part logs as its name: its loss, ``<name>_weight``, and its own values as ``<name>_<value>``; the terms of a part
    that has several as ``<name>_<term>``. A part whose weight is 0 throughout is left out. Parts are any
    ``MatchingLoss`` or `ContextualLoss`, a `CurriculumLoss` too; that one is the shorter way to blend the triplet loss
    and InfoNCE, whose hardness and margin it moves as well.

    Args:
        parts: The losses by name.
        weights: By the same names, >= 0: a number, or ``[start, end]``; not all may be 0 at the same end.
        begin: Progress at which weights start to move, in [0, 1].
        until: Progress at which they have arrived, in [``begin``, 1].
        shape: ``"linear"`` or ``"cosine"``.

    Raises:
        ConfigError: If names of parts and weights differ, a setting is out of range, all weights are 0 at one end, or
            two parts want momentum copies that differ.

    Example:
        >>> from tangka_match.losses import InfoNCELoss, TripletMarginLoss
        >>> parts = {"info_nce": InfoNCELoss(), "triplet": TripletMarginLoss(margin=0.2)}
        >>> loss = BlendLoss(parts, {"info_nce": 1.0, "triplet": [0.0, 2.0]}, until=0.5)
        >>> pairs = torch.eye(3, dtype=torch.bool)
        >>> loss(pairs.float(), pairs, progress=0.25).values["triplet_weight"]
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
        self.schedules = {name: s for name, s in schedules.items() if s.start > 0 or s.end > 0}
        self.parts = nn.ModuleDict({name: parts[name] for name in self.schedules})
        self.needs_context = any(needs_context(part) for part in self.parts.values())
        self.needs_pooled = any(isinstance(p, ContextualLoss) and p.needs_pooled for p in self.parts.values())
        self.reads_scores = any(not isinstance(p, ContextualLoss) or p.reads_scores for p in self.parts.values())
        asked = [part.key_momentum for part in self.parts.values() if isinstance(part, ContextualLoss)]
        momenta = {momentum for momentum in asked if momentum is not None}
        if len(momenta) > 1:
            raise ConfigError(f"key_momentum={sorted(momenta)}: there is one momentum copy; give all parts one value")
        self.key_momentum = next(iter(momenta), None)

    def forward(
        self,
        similarity: Float[Tensor, "B B"],
        positives: Bool[Tensor, "B B"],
        progress: float | int = 1.0,
        *,
        context: PairContext | None = None,
    ) -> LossTerms:
        """Measure the batch with the weights in force at ``progress``.

        Args:
            similarity: Scores, (B, B): rows images, columns captions, pairs on the diagonal.
            positives: (B, B), ``True`` where row and column are no negatives of each other.
            progress: Share of the run's optimizer steps already taken, in [0, 1].
            context: What is behind the scores; needed if a part needs it.

        Returns:
            The weighted sum; all terms before weighting; weights and values in force; the weighted terms.
        """
        totals: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        values: dict[str, float] = {}
        weighted: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            found, weight = measure(part, similarity, positives, progress, context), self.schedules[name](progress)
            totals.append(weight * found.total)
            terms |= {_join(name, term, len(found.terms)): value for term, value in found.terms.items()}
            values |= {f"{name}_weight": weight} | {f"{name}_{key}": value for key, value in found.values.items()}
            own = found.weighted or {name: found.total}
            weighted |= {_join(name, term, len(own)): weight * value for term, value in own.items()}
        return LossTerms(torch.stack(totals).sum(), terms, values, weighted)

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Loss when all scores are equal: the weighted sum of the parts' collapse values."""
        return sum(
            self.schedules[name](progress) * part.collapse_value(positives, progress)  # type: ignore[operator]
            for name, part in self.parts.items()
        )


def _join(part: str, term: str, count: int) -> str:
    return part if count == 1 else f"{part}_{term}"


def _check_weights(schedules: Mapping[str, Schedule]) -> None:
    for name, schedule in schedules.items():
        for value in (schedule.start, schedule.end):
            check_range(f"weights.{name}", value, 0.0, float("inf"), "a negative weight would reward mistakes")
    for end, values in (("start", [s.start for s in schedules.values()]), ("end", [s.end for s in schedules.values()])):
        if sum(values) == 0:
            raise ConfigError(f"weights={list(schedules)} are all 0 at the {end} of the run: give one of them a weight")
