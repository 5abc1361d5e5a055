"""Which parameters decay, and which learn at a rate of their own."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

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
