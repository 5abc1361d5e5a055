import numpy as np
import pytest
import torch

from tangka_match.models.correlation import (
    RIDGES,
    PairedViews,
    Spectrum,
    choose_ridges,
    correlate,
    hold_out,
    mean_reciprocal_rank,
    weigh,
)


def two_views(rows=200, shared=3, noise=0.3, seed=0):
    """Create two centred views, of 6 and 5 columns, as noisy mixtures of the same signals."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    signals = draw(rows, shared)
    views = [signals @ draw(shared, size) + noise * draw(rows, size) for size in (6, 5)]
    return [view - view.mean(dim=0) for view in views]


def spectra_of(*views, rank=50):
    return [Spectrum.of(view, rank, torch.Generator().manual_seed(0)) for view in views]


@pytest.mark.parametrize("sparse", [False, True])
def test_spectrum_of_full_rank_equals_the_svd(sparse):
    view = two_views()[0]
    found = spectra_of(view.to_sparse() if sparse else view)[0]
    torch.testing.assert_close(found.left * found.values @ found.right.T, view)
    torch.testing.assert_close(found.values, torch.linalg.svdvals(view))
    assert found.total == pytest.approx(float(view.square().sum()))


def test_truncated_spectrum_keeps_the_largest_values():
    view = two_views(noise=0.01)[0]
    found = spectra_of(view, rank=3)[0]
    assert found.left.shape == (200, 3)
    torch.testing.assert_close(found.values, torch.linalg.svdvals(view)[:3], rtol=1e-5, atol=0)


def test_correlations_equal_the_textbook_formula():
    """Canonical correlations are the roots of the eigenvalues of inv(Sxx) Sxy inv(Syy) Syx."""
    first, second = two_views()
    x, y = first.numpy(), second.numpy()
    product = np.linalg.inv(x.T @ x) @ (x.T @ y) @ np.linalg.inv(y.T @ y) @ (y.T @ x)
    expected = np.sort(np.sqrt(np.linalg.eigvals(product).real.clip(0)))[::-1][:4]
    projections = correlate(*spectra_of(first, second), (0.0, 0.0), 4)
    images, texts = (first @ projections.first).numpy(), (second @ projections.second).numpy()
    found = [np.corrcoef(images[:, d], texts[:, d])[0, 1] for d in range(4)]
    assert found == pytest.approx(expected, abs=1e-9)
    # Directions of both views are weighted by their correlation.
    assert np.linalg.norm(images, axis=0) == pytest.approx(expected, abs=1e-9)
    assert np.linalg.norm(texts, axis=0) == pytest.approx(expected, abs=1e-9)


def test_missing_directions_are_zero():
    projections = correlate(*spectra_of(*two_views()), (1e-3, 1e-3), 9)
    assert projections.first.shape == (6, 9)
    assert projections.second.shape == (5, 9)
    assert not projections.first[:, 6:].any()


def test_ridge_shrinks_weak_directions_most():
    spectrum = spectra_of(two_views()[0])[0]
    kept = (spectrum.values * spectrum.whitening(0.1)).square()
    assert kept[0] > 0.8
    assert kept[-1] < 0.1
    torch.testing.assert_close(kept, spectrum.values**2 / (spectrum.values**2 + 0.1 * spectrum.total))


def test_noise_columns_lead_to_a_larger_ridge():
    generator = torch.Generator().manual_seed(1)
    signals = torch.randn(120, 4, generator=generator)
    text = signals @ torch.randn(4, 6, generator=generator) + 0.3 * torch.randn(120, 6, generator=generator)
    clean = signals @ torch.randn(4, 8, generator=generator) + 0.3 * torch.randn(120, 8, generator=generator)
    noisy = torch.cat([clean, 0.7 * torch.randn(120, 80, generator=generator)], dim=1)
    settings = {"rank": 90, "dim": 4}
    chosen = [
        choose_ridges(
            PairedViews(view, text, torch.arange(120)), generator=torch.Generator().manual_seed(0), **settings
        )
        for view in (clean, noisy)
    ]
    assert chosen[0][0] <= 1e-4
    assert chosen[1][0] >= 1e-3
    assert all(set(ridges) <= set(RIDGES) for ridges in chosen)


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_equal_repeated_rows(sparse):
    first, second = two_views(rows=40)
    weights = torch.tensor([1.0, 3.0, 0.0, 2.0] * 10)
    repeated = torch.arange(40).repeat_interleave(weights.long())
    weighed = [weigh(view.to_sparse() if sparse else view, weights) for view in (first, second)]
    found = correlate(*spectra_of(*weighed), (1e-3, 1e-2), 4)
    expected = correlate(*spectra_of(first[repeated], second[repeated]), (1e-3, 1e-2), 4)
    images, texts = (view @ projection for view, projection in zip((first, second), found, strict=True))
    wanted = first @ expected.first, second @ expected.second
    torch.testing.assert_close(images @ texts.T, wanted[0] @ wanted[1].T)  # signs of directions are arbitrary


def test_rows_of_weight_zero_do_not_affect_the_ridges():
    """Rows of noise lead to worse ridges unless their weight is zero."""
    generator = torch.Generator().manual_seed(1)
    signals = torch.randn(240, 4, generator=generator)
    text = signals @ torch.randn(4, 6, generator=generator) + 0.1 * torch.randn(240, 6, generator=generator)
    view = signals @ torch.randn(4, 8, generator=generator) + 0.1 * torch.randn(240, 8, generator=generator)
    view[120:] = torch.randn(120, 8, generator=generator)
    weights = torch.tensor([2.0] * 120 + [0.0] * 120)

    def choose(rows, weights):
        views = PairedViews(view[:rows], text[:rows], torch.arange(rows), weights)
        return choose_ridges(views, rank=90, dim=4, generator=torch.Generator().manual_seed(0))

    projections = [
        correlate(*(Spectrum.of(weigh(v, w), 90, torch.Generator().manual_seed(0)) for v in (view, text)), ridges, 4)
        for w, ridges in ((weights, choose(240, weights)), (None, choose(240, None)))
    ]
    ranks = [mean_reciprocal_rank((view[:120] @ p.first) @ (text[:120] @ p.second).T) for p in projections]
    assert ranks[0] > ranks[1]


@pytest.mark.parametrize("weighted", [False, True])
def test_shared_rows_equal_repeated_rows(weighted):
    torch.manual_seed(0)
    images, _ = two_views(rows=30, seed=1)
    owners = torch.arange(30).repeat_interleave(torch.arange(30) % 3 + 1)[torch.randperm(59)]
    texts = images[owners] @ torch.randn(6, 5, dtype=torch.float64) + torch.randn(59, 5, dtype=torch.float64)
    weights = torch.rand(59) * (torch.arange(59) % 4 > 0) if weighted else None
    found = correlate(
        *PairedViews(images, texts, owners, weights).spectra(50, torch.Generator().manual_seed(0)), (1e-3, 1e-2), 4
    )
    expected = correlate(*spectra_of(weigh(images[owners], weights), weigh(texts, weights)), (1e-3, 1e-2), 4)
    torch.testing.assert_close(found.first @ found.second.T, expected.first @ expected.second.T)


def test_take_keeps_the_rows_of_the_pairs():
    first, second = torch.randn(4, 3), torch.randn(6, 2).to_sparse()
    owners, weights, pairs = torch.tensor([3, 0, 0, 2, 1, 3]), torch.arange(6.0), torch.tensor([1, 3, 5])
    taken = PairedViews(first, second, owners, weights).take(pairs)
    assert torch.equal(taken.first[taken.owners], first[owners[pairs]])
    assert len(taken.first) == 3
    assert torch.equal(taken.second.to_dense(), second.to_dense()[pairs])
    assert taken.weights.tolist() == [1, 3, 5]


def test_hold_out_keeps_groups_together():
    groups = torch.arange(12).repeat_interleave(3)
    held, kept = hold_out(groups, torch.Generator().manual_seed(0))
    assert len(held) == 2
    assert len(kept) == 30
    assert not set(groups[held].tolist()) & set(groups[kept].tolist())
    assert (held % 3 == 0).all()


def test_mean_reciprocal_rank_ranks_ties_above_the_diagonal():
    assert mean_reciprocal_rank(torch.zeros(4, 4)) == 0.25
    assert mean_reciprocal_rank(torch.eye(4)) == 1.0
