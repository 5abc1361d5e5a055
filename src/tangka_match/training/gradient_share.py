"""Which part of a loss drives a step."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor


def gradient_shares(weighted: Mapping[str, Float[Tensor, ""]], *meeting: Float[Tensor, "..."]) -> dict[str, float]:
    """Share of each part of a loss in what is asked of the model.

    Of every part the gradient towards the tensors is taken in which all parts meet; behind them they are passed on
    alike. The share is that of the gradient's Frobenius norm in the sum of all norms. Parts that pull against each
    other count in full, so that the shares say who pulls, not where to.

    Nothing of the step changes: no parameter's gradient is touched, and the graph stays for the backward pass.

    Args:
        weighted: The parts after their weights, scalars with a graph, by name.
        meeting: What they were computed from, parts of that graph: the scores; or the encoded images and captions,
            where a part looks past the scores.

    Returns:
        Percent, by the same names; they add up to 100, or are all 0 where no part asks for anything.

    Example:
        >>> scores = torch.zeros(2, 2, requires_grad=True)
        >>> gradient_shares({"a": 3 * scores[0, 0], "b": 1 - scores[1, 1]}, scores)
        {'a': 75.0, 'b': 25.0}
    """
    norms = {}
    for name, part in weighted.items():
        gradients = torch.autograd.grad(part, meeting, retain_graph=True, allow_unused=True)
        norms[name] = torch.stack([g.float().norm() for g in gradients if g is not None]).norm().item()
    total = sum(norms.values())
    return {name: 100.0 * norm / total if total > 0 else 0.0 for name, norm in norms.items()}
