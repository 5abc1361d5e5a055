"""Parameters in groups of equal weight decay and learning rate."""

from typing import Any

from torch import nn

from tangka_match.types import PretrainedMatcher


def parameter_groups(module: nn.Module) -> list[dict[str, Any]]:
    """Split what is trained: matrices decay, vectors and scalars do not; a matcher may slow down parts of itself.

    Args:
        module: With the matcher as ``matcher``.

    Returns:
        Groups for an optimizer, each with its ``lr_multiplier`` beside; first the two of multiplier 1.
    """
    matcher = getattr(module, "matcher", None)
    slower = matcher.lr_multipliers() if isinstance(matcher, PretrainedMatcher) else {}
    prefixes = {f"matcher.{prefix}": float(multiplier) for prefix, multiplier in slower.items()}
    groups: list[dict[str, Any]] = []
    for multiplier in dict.fromkeys((1.0, *prefixes.values())):
        trained = [
            parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
            and next((m for prefix, m in prefixes.items() if name.startswith(prefix)), 1.0) == multiplier
        ]
        groups += [
            {"params": [p for p in trained if p.ndim >= 2], "lr_multiplier": multiplier},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0, "lr_multiplier": multiplier},
        ]
    return groups
