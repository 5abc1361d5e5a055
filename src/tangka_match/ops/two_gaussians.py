"""Two Gaussians fitted to numbers: which of the two each number comes from."""

import torch
from jaxtyping import Float
from torch import Tensor

_VARIANCE_FLOOR = 5e-4
_MAX_ROUNDS = 200


def low_component_share(values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Fit a mixture of two Gaussians, and return each number's probability to come from the one of the lower mean.

    Expectation maximisation on numbers stretched to [0, 1], from the first and the ninth decile, with 0.0005 added to
    each variance: the mixture of Li et al., "DivideMix: Learning with Noisy Labels as Semi-supervised Learning",
    arXiv:2002.07394, section 3.1. Beyond a mean nothing changes any more, so that a lower number never has the smaller
    probability, which it could have under a Gaussian that is much wider than the other.

    Args:
        values: Finite numbers, at least 1.

    Returns:
        In [0, 1], float64, on the CPU; all 1 where the numbers are all the same.

    >>> low_component_share(torch.tensor([0.1, 0.2, 0.15, 0.1, 2.0, 2.1])).round().tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    low, high = values.min(), values.max()
    if low == high:
        return torch.ones(len(values), dtype=torch.float64)
    points = ((values - low) / (high - low)).double().cpu()
    means = torch.quantile(points, torch.tensor([0.1, 0.9], dtype=torch.float64))
    variances = torch.full((2,), points.var(correction=0).item() + _VARIANCE_FLOOR, dtype=torch.float64)
    shares = torch.full((2,), 0.5, dtype=torch.float64)
    before = points.new_full((len(points), 2), float("inf"))
    for _ in range(_MAX_ROUNDS):
        posterior = _posterior(points, means, variances, shares)
        if torch.allclose(posterior, before, rtol=0, atol=1e-6):
            break
        before = posterior
        counts = posterior.sum(0).clamp(min=1e-12)
        shares = counts / len(points)
        means = (posterior * points[:, None]).sum(0) / counts
        variances = (posterior * (points[:, None] - means) ** 2).sum(0) / counts + _VARIANCE_FLOOR
    lower = int(means.argmin())
    return _posterior(points.clamp(means.min(), means.max()), means, variances, shares)[:, lower]


def _posterior(
    points: Float[Tensor, " N"], means: Float[Tensor, "2"], variances: Float[Tensor, "2"], shares: Float[Tensor, "2"]
) -> Float[Tensor, "N 2"]:
    log_density = -((points[:, None] - means) ** 2) / (2 * variances) - variances.log() / 2
    return (log_density + shares.log()).softmax(dim=1)
