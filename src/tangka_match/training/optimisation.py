"""Parameter groups, and learning-rate schedules counted in optimizer steps."""

import bisect
import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from tangka_match.errors import ConfigError

OptimizerFactory = Callable[..., Optimizer]
MULTIPLIER = "lr_multiplier"
WARMUP_SHARE = 0.1
"""Share of a run to which a warm-up is shortened if its number of steps exceeds the run."""


def parameter_groups(matcher: nn.Module, loss: nn.Module, multipliers: Mapping[str, float]) -> list[dict[str, Any]]:
    """Split parameters into groups: matrices get weight decay; vectors and scalars (biases, norms, temperature) do not.

    Args:
        matcher: Model; each parameter gets the multiplier of the longest prefix that matches its name, or 1.
        loss: Loss; its parameters get the multiplier 1.
        multipliers: Multipliers of the learning rate by the name of a module or parameter of the matcher, such as
            ``text_encoder`` or ``text_encoder.embed``.

    Returns:
        Two groups per multiplier, those of multiplier 1 first; each group holds its multiplier as ``lr_multiplier``.

    Raises:
        ConfigError: If a prefix matches no trained parameter.
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
    """Check that each prefix matches a trained parameter; the matcher may be on the ``meta`` device.

    Args:
        matcher: Model.
        prefixes: Names of modules or parameters of the matcher.

    Raises:
        ConfigError: If a prefix matches no trained parameter.
    """
    trained = [name for name, parameter in matcher.named_parameters() if parameter.requires_grad]
    for prefix in prefixes:
        if not any(_matches(name, prefix) for name in trained):
            known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in trained))
            raise ConfigError(
                f"training.lr_multipliers.{prefix}: no trained parameter of {type(matcher).__name__} has this name; "
                f"allowed: {known}, and names of their parts, joined by dots"
            )


def fused_on_gpu(factory: OptimizerFactory, device: torch.device, *, scales_loss: bool) -> OptimizerFactory:
    """Let an optimizer update all parameters in one kernel on an NVIDIA GPU, if it can and the user did not decide.

    Args:
        factory: Factory of the optimizer; a ``functools.partial``, as Hydra builds it, or a class.
        device: Device of the parameters.
        scales_loss: Whether the loss is scaled (``16-mixed``): a fused optimizer cannot clip such gradients.

    >>> fused_on_gpu(partial(torch.optim.AdamW, lr=0.1), torch.device("cuda"), scales_loss=False).keywords
    {'lr': 0.1, 'fused': True}
    """
    given = factory.keywords if isinstance(factory, partial) else {}
    can = "fused" in inspect.signature(factory).parameters and not given.keys() & {"fused", "foreach"}
    return partial(factory, fused=True) if can and device.type == "cuda" and not scales_loss else factory


def scale_rates(optimizer: Optimizer) -> None:
    """Multiply the learning rate of each group by its ``lr_multiplier``; call it before a schedule is built."""
    for group in optimizer.param_groups:
        group["lr"] *= group[MULTIPLIER]


def _matches(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def cosine_factor(step: int, total_steps: int, warmup_steps: int, final_ratio: float) -> float:
    """Compute the ratio to the peak learning rate: linear up to 1, then half a cosine down to ``final_ratio``.

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
    """Compute the ratio to the peak learning rate: linear up to 1, then times ``factor`` at each share of the run.

    >>> [round(step_decay_factor(s, 100, 0, [0.5, 0.75], 0.1), 3) for s in (0, 49, 50, 74, 75, 99)]
    [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return factor ** bisect.bisect_right([share * total_steps for share in decay_at], step)


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup_steps: int, final_ratio: float) -> LambdaLR:
    """Build a schedule with linear warm-up, then a cosine to ``final_ratio`` of the peak at ``total_steps``.

    Args:
        optimizer: Optimizer; its current learning rates are the peaks.
        total_steps: Optimizer steps of the whole run.
        warmup_steps: Optimizer steps of the linear rise; see ``clip_warmup`` if the run is not longer.
        final_ratio: Ratio to the peak learning rate at the last step, in [0, 1].

    Raises:
        ConfigError: If ``warmup_steps`` or ``final_ratio`` is out of range.
    """
    if not 0.0 <= final_ratio <= 1.0:
        raise ConfigError(f"scheduler.final_ratio={final_ratio} must be in [0, 1] (ratio to the peak learning rate)")
    return _scaled(
        optimizer,
        total_steps,
        warmup_steps,
        lambda step, warmup: cosine_factor(step, total_steps, warmup, final_ratio),
    )


def warmup_step_decay(
    optimizer: Optimizer, total_steps: int, warmup_steps: int, decay_at: Sequence[float], factor: float
) -> LambdaLR:
    """Build a schedule with linear warm-up, then the rate times ``factor`` at each share of the run in ``decay_at``.

    The published SGRAF divides the rate by 10 at epoch 30 of 40: ``decay_at=[0.75], factor=0.1``.

    Args:
        optimizer: Optimizer; its current learning rates are the peaks.
        total_steps: Optimizer steps of the whole run.
        warmup_steps: Optimizer steps of the linear rise; see ``clip_warmup`` if the run is not longer.
        decay_at: Shares of the run in (0, 1), ascending.
        factor: Factor of the learning rate at each of these shares, in (0, 1].

    Raises:
        ConfigError: If ``decay_at``, ``factor`` or ``warmup_steps`` is out of range.
    """
    if any(not 0.0 < share < 1.0 for share in decay_at) or list(decay_at) != sorted(decay_at):
        raise ConfigError(f"scheduler.decay_at={list(decay_at)} must be shares of the run in (0, 1), ascending")
    if not 0.0 < factor <= 1.0:
        raise ConfigError(f"scheduler.factor={factor} must be in (0, 1]")
    return _scaled(
        optimizer,
        total_steps,
        warmup_steps,
        lambda step, warmup: step_decay_factor(step, total_steps, warmup, decay_at, factor),
    )


def warmup_constant(optimizer: Optimizer, total_steps: int, warmup_steps: int) -> LambdaLR:
    """Build a schedule with linear warm-up, then the peak learning rate for the rest of the run.

    Args:
        optimizer: Optimizer; its current learning rates are the peaks.
        total_steps: Optimizer steps of the whole run.
        warmup_steps: Optimizer steps of the linear rise; see ``clip_warmup`` if the run is not longer.

    Raises:
        ConfigError: If ``warmup_steps`` is negative.
    """
    return _scaled(optimizer, total_steps, warmup_steps, lambda step, warmup: min((step + 1) / max(warmup, 1), 1.0))


def clip_warmup(warmup_steps: int, total_steps: int) -> int:
    """Shorten a warm-up that is not shorter than the run to ``WARMUP_SHARE`` of the run.

    Args:
        warmup_steps: Optimizer steps of the warm-up.
        total_steps: Optimizer steps of the run.

    >>> clip_warmup(50, 920), clip_warmup(50, 50), clip_warmup(50, 2)
    (50, 5, 0)
    """
    return warmup_steps if warmup_steps < total_steps else int(WARMUP_SHARE * total_steps)


def _scaled(optimizer: Optimizer, total_steps: int, warmup_steps: int, factor: Callable[[int, int], float]) -> LambdaLR:
    """Schedule that multiplies the learning rates by ``factor(step, warmup_steps)``."""
    if warmup_steps < 0:
        raise ConfigError(f"scheduler.warmup_steps={warmup_steps} must be >= 0")
    warmup = clip_warmup(warmup_steps, total_steps)
    return LambdaLR(optimizer, lambda step: factor(step, warmup))
