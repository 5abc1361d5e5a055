"""Learning-rate schedules counted in optimizer steps: warm-up, then cosine, step decay, or constant.

An epoch means 22 steps on 2,910 pairs and 1,133 on Flickr30K, so a schedule in epochs says nothing; these take the
run's total number of steps from the trainer.
"""

import bisect
import math
from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tangka_match.errors import ConfigError


def cosine_factor(step: int, total_steps: int, warmup_steps: int, final_ratio: float) -> float:
    """Share of the peak learning rate at a step: linear up to 1, then half a cosine down to ``final_ratio``.

    >>> [round(cosine_factor(s, total_steps=10, warmup_steps=2, final_ratio=0.1), 3) for s in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.55, 0.1]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    share = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return final_ratio + (1.0 - final_ratio) * 0.5 * (1.0 + math.cos(math.pi * share))


def step_decay_factor(
    step: int, total_steps: int, warmup_steps: int, decay_at: Sequence[float], factor: float
) -> float:
    """Share of the peak learning rate at a step: linear up to 1, then times ``factor`` at each share of the run.

    >>> [round(step_decay_factor(s, 100, 0, [0.5, 0.75], 0.1), 3) for s in (0, 49, 50, 74, 75, 99)]
    [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return factor ** bisect.bisect_right([share * total_steps for share in decay_at], step)


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup_steps: int, final_ratio: float) -> LambdaLR:
    """Linear warm-up, then a cosine to ``final_ratio`` of the peak at ``total_steps``.

    Args:
        optimizer: Whose learning rates are scaled; their present values are the peaks.
        total_steps: Optimizer steps of the whole run.
        warmup_steps: Optimizer steps of the linear rise; fewer than ``total_steps``.
        final_ratio: Share of the peak at the last step, in [0, 1].

    Raises:
        ConfigError: If the warm-up is longer than the run, or ``final_ratio`` is out of range.
    """
    if not 0.0 <= final_ratio <= 1.0:
        raise ConfigError(f"scheduler.final_ratio={final_ratio}: give a share of the peak learning rate in [0, 1]")
    return _scaled(
        optimizer, total_steps, warmup_steps, lambda s: cosine_factor(s, total_steps, warmup_steps, final_ratio)
    )


def warmup_step_decay(
    optimizer: Optimizer, total_steps: int, warmup_steps: int, decay_at: Sequence[float], factor: float
) -> LambdaLR:
    """Linear warm-up, then the rate times ``factor`` at each share of the run in ``decay_at``.

    The published SGRAF divides by 10 at epoch 30 of 40: ``decay_at=[0.75], factor=0.1``.

    Args:
        optimizer: Whose learning rates are scaled; their present values are the peaks.
        total_steps: Optimizer steps of the whole run.
        warmup_steps: Optimizer steps of the linear rise; fewer than ``total_steps``.
        decay_at: Shares of the run in (0, 1), ascending.
        factor: What the rate is multiplied with each time, in (0, 1].

    Raises:
        ConfigError: If a share or the factor is out of range, or the warm-up is longer than the run.
    """
    if any(not 0.0 < share < 1.0 for share in decay_at) or list(decay_at) != sorted(decay_at):
        raise ConfigError(f"scheduler.decay_at={list(decay_at)}: give shares of the run in (0, 1), ascending")
    if not 0.0 < factor <= 1.0:
        raise ConfigError(f"scheduler.factor={factor}: give a number in (0, 1]")
    return _scaled(
        optimizer,
        total_steps,
        warmup_steps,
        lambda s: step_decay_factor(s, total_steps, warmup_steps, decay_at, factor),
    )


def warmup_constant(optimizer: Optimizer, total_steps: int, warmup_steps: int) -> LambdaLR:
    """Linear warm-up, then the peak learning rate for the rest of the run.

    Raises:
        ConfigError: If the warm-up is longer than the run.
    """
    return _scaled(optimizer, total_steps, warmup_steps, lambda s: min((s + 1) / max(warmup_steps, 1), 1.0))


def _scaled(optimizer: Optimizer, total_steps: int, warmup_steps: int, factor: Callable[[int], float]) -> LambdaLR:
    if not 0 <= warmup_steps < total_steps:
        raise ConfigError(
            f"scheduler.warmup_steps={warmup_steps} but the run has {total_steps} optimizer steps: "
            "lower scheduler.warmup_steps, or raise trainer.max_epochs or trainer.max_steps"
        )
    return LambdaLR(optimizer, factor)
