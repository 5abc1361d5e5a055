"""Features of a Gaussian kernel, which let a linear method find curved relations."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tangka_match.ops import full_precision

LANDMARKS = 1024
"""Training vectors that others are compared with."""
COMPONENTS = 640
"""Number of features."""


class GaussianKernel(nn.Module):
    r"""Features whose dot products approximate :math:`\exp(-|x - y|^2 / s)`, with :math:`s` the mean squared distance.

    A vector is compared with 1,024 training vectors, the landmarks, and the similarities are multiplied by a root of
    the inverse of those between the landmarks: Williams & Seeger, "Using the Nyström Method to Speed Up Kernel
    Machines", NIPS 2000.

    Args:
        dim: Dimensions of the vectors, D.
    """

    landmarks: Tensor
    root: Tensor
    spread: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("landmarks", torch.zeros(LANDMARKS, dim))
        self.register_buffer("root", torch.zeros(LANDMARKS, COMPONENTS))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, vectors: Float[Tensor, "N D"]) -> Float[Tensor, "N Q"]:
        """Compute the ``Q`` = ``COMPONENTS`` features of vectors; 0 before `fit`."""
        with full_precision(vectors.device.type):
            return self._similarities(vectors) @ self.root

    def _similarities(self, vectors: Float[Tensor, "N D"]) -> Float[Tensor, "N L"]:
        # Not by torch.cdist, which ONNX does not have.
        squares = vectors.square().sum(dim=1)[:, None] + self.landmarks.square().sum(dim=1)
        return torch.exp((2 * vectors @ self.landmarks.T - squares).clamp(max=0) / self.spread)

    @torch.no_grad()
    def fit(self, vectors: Float[Tensor, "N D"], generator: torch.Generator) -> None:
        """Draw the landmarks from training vectors; with fewer of them, or of independent ones, features stay 0."""
        drawn = vectors[torch.randperm(len(vectors), generator=generator)[:LANDMARKS]]
        self.landmarks.zero_()[: len(drawn)] = drawn
        spread = 2 * (vectors - vectors.mean(dim=0)).square().sum(dim=1).mean()
        self.spread.copy_(spread if spread > 0 else torch.ones(()))
        values, directions = torch.linalg.eigh(self._similarities(drawn)[:, : len(drawn)].double())
        values, directions = values.flip(0)[:COMPONENTS], directions.flip(1)[:, :COMPONENTS]
        real = values > 1e-6 * values[0]  # smaller ones are rounding errors
        self.root.zero_()[: len(drawn), : len(values)] = directions * (real / values.clamp(min=1e-30).sqrt())
