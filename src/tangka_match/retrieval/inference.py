"""The state in which a matcher is asked for answers rather than taught."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tangka_match.ops import bound_primitive_caches
from tangka_match.types import Matcher


@contextmanager
def inference(matcher: Matcher, device: torch.device, dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Switch off dropout, batch statistics and gradients, choose the precision; put the modes back afterwards.

    Modes are kept module by module, because a frozen part may be in evaluation mode while the rest trains. Autocast is
    off unless asked for, because bfloat16 scores between 0.5 and 1 have 128 levels: in a gallery of thousands most of
    them tie.

    Args:
        matcher: The model about to be used.
        device: Where it is used.
        dtype: ``torch.float32``, or ``torch.bfloat16`` to compute under autocast.
    """
    modes = {part: part.training for part in matcher.modules()} if isinstance(matcher, nn.Module) else {}
    if isinstance(matcher, nn.Module):
        matcher.eval()
    bound_primitive_caches()
    try:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16):
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def device_of(matcher: Matcher, otherwise: torch.device) -> torch.device:
    """Return the device of the matcher's parameters, or another where it has none."""
    parameter = next(matcher.parameters(), None) if isinstance(matcher, nn.Module) else None
    return otherwise if parameter is None else parameter.device
