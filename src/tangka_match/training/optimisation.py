"""Parameter groups and learning-rate schedules counted in optimizer steps."""

import bisect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tangka_match.errors import ConfigError

MULTIPLIER = "lr_multiplier"


def parameter_groups(matcher: nn.Module, loss: nn.Module, multipliers: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameter groups of an optimizer: matrices decay; vectors and scalars (biases, norms, the temperature) do not.

    Args:
        matcher: Its parameters get the multiplier of the longest prefix that matches, or 1.
        loss: Its parameters get 1.
        multipliers: Of the learning rate, by the name of a module or parameter of the matcher, as ``text_encoder`` or
            ``text_encoder.embed``.

    Returns:
        A pair of groups for each multiplier, that of 1 first; each group says its own under ``lr_multiplier``.

    Raises:
        ConfigError: If a prefix matches no parameter that is trained.
    """
    check_prefixes(matcher, multipliers)
    by_multiplier: dict[float, list[nn.Parameter]] = defaultdict(list)
    by_multiplier[1.0] = []
    for name, parameter in matcher.named_parameters():
        prefix = max((prefix for prefix in multipliers if _matches(name, prefix)), key=len, default=None)
        by_multiplier[1.0 if prefix is None else float(multipliers[prefix])].append(parameter)
    by_multiplier[1.0] += loss.parameters()
    groups = []
    for multiplier, parameters in by_multiplier.items():
        trained = [p for p in parameters if p.requires_grad]
        matrices, others = [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]
        groups.append({"params": matrices, MULTIPLIER: multiplier})
        groups.append({"params": others, MULTIPLIER: multiplier, "weight_decay": 0.0})
    return groups


def check_prefixes(matcher: nn.Module, prefixes: Iterable[str]) -> None:
    """Make sure that each prefix names something that is trained; the matcher may be on the ``meta`` device.

    Raises:
        ConfigError: Naming the first that does not, and the modules that there are.
    """
    trained = [name for name, parameter in matcher.named_parameters() if parameter.requires_grad]
    for prefix in prefixes:
        if not any(_matches(name, prefix) for name in trained):
            known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in trained))
            raise ConfigError(
                f"training.lr_multipliers.{prefix}: nothing that is trained in {type(matcher).__name__} has this name; "
                f"its parts are {known} (and theirs, joined by dots)"
            )


def scale_rates(optimizer: Optimizer) -> None:
    """Multiply each group's learning rate once, before a schedule takes it for its initial one."""
    for group in optimizer.param_groups:
        group["lr"] *= group[MULTIPLIER]


def _matches(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


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
