"""Regularised canonical correlation analysis (CCA) of two matrices with matching rows, in closed form."""

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tangka_match.ops import l2_normalise

RIDGES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Candidate ridges of each view, as shares of its total variance."""
_POWER_ITERATIONS = 2


class Projections(NamedTuple):
    """Projections of the two views to the joint space."""

    first: Float[Tensor, "P D"]
    second: Float[Tensor, "Q D"]


@dataclass(frozen=True)
class Spectrum:
    """Truncated singular value decomposition ``matrix ≈ left · diag(values) · right.T`` of total variance ``total``."""

    left: Float[Tensor, "N q"]
    values: Float[Tensor, " q"]
    right: Float[Tensor, "P q"]
    total: float

    @staticmethod
    def of(matrix: Tensor, rank: int, generator: torch.Generator) -> "Spectrum":
        """Decompose a dense or sparse matrix (N, P) by randomised subspace iteration.

        Halko, Martinsson & Tropp, "Finding Structure with Randomness", arXiv 0909.4061, algorithm 4.4; two power
        iterations.
        """
        rank = min(rank, *matrix.shape)
        probe = torch.randn(matrix.shape[1], min(rank + 16, *matrix.shape), generator=generator, dtype=matrix.dtype)
        basis = torch.linalg.qr(matrix @ probe).Q
        for _ in range(_POWER_ITERATIONS):
            basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis).Q).Q
        small = (matrix.T @ basis).double()
        squares, left = torch.linalg.eigh(small.T @ small)
        values, left = squares.flip(0)[:rank].clamp(min=1e-12).sqrt(), left.flip(1)[:, :rank]
        right = (small @ left / values).to(matrix.dtype)
        norm = matrix.coalesce().values() if matrix.is_sparse else matrix
        total = float(norm.square().sum())
        return Spectrum(basis @ left.to(matrix.dtype), values.to(matrix.dtype), right, total)

    def whitening(self, ridge: float) -> Float[Tensor, " q"]:
        """Compute ``1 / sqrt(values² + ridge · total)`` for each direction."""
        return (self.values.square() + ridge * self.total).clamp(min=1e-12).rsqrt()


def correlate(first: Spectrum, second: Spectrum, ridges: tuple[float, float], dim: int) -> Projections:
    r"""Compute the canonical projections of two views, weighted by their correlations.

    With :math:`A = U_a S_a V_a^T`, :math:`B = U_b S_b V_b^T` and :math:`g = (S^2 + \lambda)^{-1/2}`, take the singular
    vectors :math:`P \Sigma Q^T` of :math:`g_a S_a U_a^T U_b S_b g_b`; the projections are
    :math:`V_a g_a P \Sigma` and :math:`V_b g_b Q \Sigma`.
    Hotelling, "Relations Between Two Sets of Variates", 1936; the ridge is Vinod's, 1976; the weighting by correlation
    is that of Gong et al., "A Multi-View Embedding Space", arXiv 1212.4522, section 3.3.

    Args:
        first: Decomposition of the first view.
        second: Decomposition of the second view, with the same N rows.
        ridges: Ridge of each view, as a share of its total variance.
        dim: Number of directions to keep; missing ones are zero.
    """
    small = _canonical(first, second, first.left.T @ second.left, ridges, dim)
    return Projections(first.right @ small.first, second.right @ small.second)


def _canonical(
    first: Spectrum, second: Spectrum, product: Float[Tensor, "q r"], ridges: tuple[float, float], dim: int
) -> Projections:
    """Compute the projections of `correlate` for rows given by their coordinates along ``right``.

    ``product`` is ``first.left.T @ second.left``, which does not depend on the ridges.
    """
    g_first, g_second = first.whitening(ridges[0]), second.whitening(ridges[1])
    cross = (g_first * first.values)[:, None] * product * (second.values * g_second)
    # An eigendecomposition is five times as fast as an SVD; it loses only correlations below 1e-3, which do not matter.
    squares, right = torch.linalg.eigh(cross.T @ cross)
    right, correlations = right.flip(1)[:, :dim], squares.flip(0)[:dim].clamp(min=0).sqrt()
    pad = (0, dim - len(correlations))
    views = (g_first[:, None] * (cross @ right), g_second[:, None] * (right * correlations))
    return Projections(*(torch.nn.functional.pad(view, pad) for view in views))


def weigh(view: Tensor, weights: Float[Tensor, " N"] | None) -> Tensor:
    """Scale the rows of a dense or sparse matrix (N, P) so that each counts ``weights`` times in ``view.T @ view``.

    >>> weigh(torch.tensor([[3.0], [1.0]]), torch.tensor([4.0, 1.0])).T.tolist()
    [[6.0, 1.0]]
    """
    if weights is None:
        return view
    scales = weights.sqrt().to(view.dtype)
    if not view.is_sparse:
        return view * scales[:, None]
    view = view.coalesce()
    values = view.values() * scales[view.indices()[0]]
    return torch.sparse_coo_tensor(view.indices(), values, view.shape, check_invariants=True).coalesce()


@dataclass(frozen=True)
class PairedViews:
    """Pairs of rows of two views, where several pairs may share a row of the first view.

    The results equal those for views with the shared rows repeated, at lower cost in memory and time.

    Attributes:
        first: First view, (M, P), dense.
        second: Second view, (N, Q), dense or sparse, one row per pair.
        owners: Row of ``first`` of each pair, (N,).
        weights: Weight of each pair, (N,); ``None`` = 1 each.
    """

    first: Float[Tensor, "M P"]
    second: Tensor
    owners: Int[Tensor, " N"]
    weights: Float[Tensor, " N"] | None = None

    def take(self, pairs: Int[Tensor, " K"]) -> "PairedViews":
        """Select pairs, and the rows of the first view that they use."""
        rows, owners = self.owners[pairs].unique(return_inverse=True)
        weights = None if self.weights is None else self.weights[pairs]
        return PairedViews(self.first[rows], self.second.index_select(0, pairs), owners, weights)

    def both_weights(self) -> tuple[Float[Tensor, " M"], Float[Tensor, " N"]]:
        """Return the weight of each row of the first view, the sum over its pairs, and of each pair."""
        weights = torch.ones(len(self.owners)) if self.weights is None else self.weights
        return torch.zeros(len(self.first), dtype=weights.dtype).index_add_(0, self.owners, weights), weights

    def spectra(self, rank: int, generator: torch.Generator) -> tuple[Spectrum, Spectrum]:
        """Decompose both weighted views.

        In both decompositions, ``left`` has one row per row of the first view. For the second view, each row is the
        weighted sum over the pairs that share it, which is sufficient for ``correlate``.
        """
        counts, weights = self.both_weights()
        first = Spectrum.of(weigh(self.first, counts), rank, generator)
        second = Spectrum.of(weigh(self.second, self.weights), rank, generator)
        shares = (weights / counts[self.owners].clamp(min=1e-30)).sqrt().to(second.left.dtype)
        left = torch.zeros(len(self.first), second.left.shape[1], dtype=second.left.dtype)
        return first, replace(second, left=left.index_add_(0, self.owners, second.left * shares[:, None]))


def choose_ridges(views: PairedViews, *, rank: int, dim: int, generator: torch.Generator) -> tuple[float, float]:
    """Choose the ridges by retrieval on a held-out sixth of the rows of the first view.

    Args:
        views: Paired views; pairs that share a row of the first view are held out together, and one of them is ranked.
        rank: Number of singular values to keep.
        dim: Number of directions to keep.
        generator: Random generator for the held-out rows and the decompositions.

    Returns:
        Two of ``RIDGES`` with the highest sum of the mean reciprocal ranks of both directions.
    """
    held, kept = hold_out(views.owners, generator)
    spectra = views.take(kept).spectra(rank, generator)
    product = spectra[0].left.T @ spectra[1].left
    # Coordinates along the singular vectors, once for all ridges: the views have tens of thousands of columns.
    images = views.first[views.owners[held]] @ spectra[0].right
    captions = views.second.index_select(0, held) @ spectra[1].right
    weights = None if views.weights is None else views.weights[held]

    def quality(ridges: tuple[float, float]) -> float:
        projections = _canonical(*spectra, product, ridges, dim)
        scores = l2_normalise(images @ projections.first) @ l2_normalise(captions @ projections.second).T
        return mean_reciprocal_rank(scores, weights) + mean_reciprocal_rank(scores.T, weights)

    return max(itertools.product(RIDGES, RIDGES), key=quality)


def mean_reciprocal_rank(scores: Float[Tensor, "N N"], weights: Float[Tensor, " N"] | None = None) -> float:
    """Compute the weighted mean reciprocal rank of the diagonal within its row; ties rank above the diagonal.

    >>> mean_reciprocal_rank(torch.tensor([[0.9, 0.1], [0.8, 0.3]]))
    0.75
    >>> mean_reciprocal_rank(torch.tensor([[0.9, 0.1], [0.8, 0.3]]), torch.tensor([1.0, 0.0]))
    1.0
    """
    ranks = (scores >= scores.diagonal()[:, None]).sum(dim=1)
    found = ranks.double().reciprocal()
    return float(found.mean() if weights is None else (found * weights).sum() / weights.sum())


def hold_out(groups: Int[Tensor, " N"], generator: torch.Generator) -> tuple[Int[Tensor, " H"], Int[Tensor, " M"]]:
    """Hold out a sixth of the groups, at most 600; return the first row of each, and all rows of the other groups."""
    names = groups.unique()
    chosen = names[torch.randperm(len(names), generator=generator)[: min(max(len(names) // 6, 1), 600)]]
    held = torch.isin(groups, chosen)
    rows = held.nonzero()[:, 0]
    _, inverse = groups[rows].unique(return_inverse=True)
    firsts = torch.full((len(chosen),), len(groups)).scatter_reduce(0, inverse, rows, "amin")
    return firsts, (~held).nonzero()[:, 0]
