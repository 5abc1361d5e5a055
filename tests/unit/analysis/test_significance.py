from itertools import product

import pytest
import torch

from helpers.rank_tables import random_ranks
from tangka_match.analysis import significance
from tangka_match.analysis.significance import METRICS, compare_ranks, sign_flip_test, standard_error, t_test
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks, summarise

RAGGED = torch.tensor([2, 0, 0, 1, 2, 2, 3, 4, 4, 5])
"""Ten captions, one to three per image, in random order."""


def ranks(i2t, t2i):
    return Ranks(torch.tensor(i2t), torch.tensor(t2i))


def some_ranks(seed):
    generator = torch.Generator().manual_seed(seed)
    return Ranks(*(torch.randint(1, 14, (size,), generator=generator) for size in (6, 10)))


def radius(contributions):
    return 20 * (contributions - contributions.mean(dim=0)).square().sum(dim=0).sqrt()


def exact_mid_p(contributions):
    """Enumerate all sign patterns."""
    observed = abs(sum(contributions))
    sums = [
        abs(sum(s * x for s, x in zip(signs, contributions, strict=True)))
        for signs in product((1, -1), repeat=len(contributions))
    ]
    larger = sum(s > observed + 1e-9 for s in sums)
    equal = sum(abs(s - observed) <= 1e-9 for s in sums)
    return (larger + equal / 2) / len(sums)


class TestWorkedExample:
    """Three images, the last with two captions. Only b finds image 0, in both directions; only a finds caption 3."""

    A = ranks([2, 1, 1], [6, 1, 1, 1])
    B = ranks([1, 1, 1], [1, 1, 1, 11])
    OWNERS = torch.tensor([0, 1, 2, 2])

    def test_differences(self):
        found = compare_ranks([self.A], [self.B], self.OWNERS, resamples=1000)
        assert tuple(found) == METRICS
        expected = {
            "i2t_r1": (200 / 3, 100.0),
            "t2i_r1": (75.0, 75.0),
            "t2i_r5": (75.0, 75.0),
            "t2i_r10": (100.0, 75.0),
            "t2i_mean_rank": (9 / 4, 14 / 4),
            "mean_r1": ((200 / 3 + 75) / 2, 87.5),
            "rsum": (200 / 3 + 200 + 250, 300 + 225),
        }
        for metric, (a, b) in expected.items():
            assert found[metric][:3] == pytest.approx((a, b, b - a)), metric

    def test_p_value_equals_exact_enumeration(self):
        """Mean R@1: image 0 adds 1/6 + 1/8, image 2 subtracts 1/8. Two of four patterns are equal, two larger: 3/4."""
        contributions = [100 / 6 + 100 / 8, 0.0, -100 / 8]
        assert exact_mid_p(contributions) == 0.75
        found = compare_ranks([self.A], [self.B], self.OWNERS, resamples=20_000)
        assert found["mean_r1"].p == pytest.approx(0.75, abs=0.01)
        assert found["t2i_r1"].p == 1.0

    def test_captions_of_an_image_are_exchanged_together(self):
        """Three captions of one image, all better in b, are one sign: p is 1/2, where three signs would give 1/8."""
        a, b = ranks([1, 1], [9, 9, 9, 1]), ranks([1, 1], [1, 1, 1, 1])
        found = compare_ranks([a], [b], torch.tensor([0, 0, 0, 1]), resamples=20_000)
        assert found["t2i_r1"].p == pytest.approx(0.5, abs=0.01)


class TestOneModelPerSide:
    @pytest.mark.parametrize("seed", range(3))
    def test_values_equal_summarise(self, seed):
        a, b = some_ranks(seed), some_ranks(seed + 50)
        for metric, found in compare_ranks([a], [b], RAGGED, resamples=1000).items():
            assert (found.a, found.b) == pytest.approx((summarise(a)[metric], summarise(b)[metric]))

    def test_p_value_against_exact_enumeration(self):
        generator = torch.Generator().manual_seed(0)
        contributions = torch.randint(-2, 3, (8, 5), generator=generator).double()
        p_values = sign_flip_test(contributions, 100_000, generator).p_values()
        assert p_values.tolist() == pytest.approx(
            [1.0 if column.sum() == 0 else exact_mid_p(column.tolist()) for column in contributions.T], abs=0.006
        )

    def test_interval_against_exact_enumeration(self):
        generator = torch.Generator().manual_seed(0)
        contributions = torch.randn(10, 3, generator=generator, dtype=torch.float64) + torch.tensor([0.0, 0.3, 1.5])
        low, high = sign_flip_test(contributions, 200_000, generator).interval(radius(contributions))
        for column, *ends in zip(contributions.T, low.tolist(), high.tolist(), strict=True):
            for end, outwards in zip(ends, (-1, 1), strict=True):
                within, beyond = (end + outwards * step for step in (-0.1, 0.1))
                assert exact_mid_p((column - within / 10).tolist()) > 0.049
                assert exact_mid_p((column - beyond / 10).tolist()) < 0.051

    def test_interval_excludes_zero_iff_significant(self):
        generator = torch.Generator().manual_seed(0)
        contributions = torch.randint(-1, 2, (100, 400), generator=generator).double()
        contributions[::7] += 0.7
        test = sign_flip_test(contributions, 2000, generator)
        p_values, (low, high) = test.p_values(), test.interval(radius(contributions))
        assert 0.1 < (p_values < 0.05).double().mean() < 0.9
        assert torch.equal(p_values < 0.05, (low > 0) | (high < 0))

    def test_intervals_move_with_the_difference(self):
        contributions = torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        ends = [
            sign_flip_test(s, 2000, torch.Generator().manual_seed(1)).interval(radius(s))
            for s in (contributions, contributions + 0.2)
        ]
        assert [float(e) for e in ends[1]] == pytest.approx([float(e) + 10 for e in ends[0]], abs=1e-6)

    def test_too_few_images_have_an_unbounded_interval(self):
        contributions = torch.tensor([[1.0], [2.0], [1.5], [1.0]], dtype=torch.float64)
        test = sign_flip_test(contributions, 2000, torch.Generator().manual_seed(0))
        low, high = test.interval(torch.tensor([20.0]))
        assert test.p_values() > 0.05
        assert (float(low), float(high)) == pytest.approx((5.5 - 20, 5.5 + 20), abs=1e-4)

    def test_result_does_not_depend_on_chunk_size(self, monkeypatch):
        contributions = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        whole = sign_flip_test(contributions, 1000, torch.Generator().manual_seed(1))
        monkeypatch.setattr(significance, "CHUNK_ELEMENTS", 3000)
        in_chunks = sign_flip_test(contributions, 1000, torch.Generator().manual_seed(1))
        torch.testing.assert_close(tuple(whole), tuple(in_chunks))
        assert torch.equal(whole.p_values(), in_chunks.p_values())


class TestSeveralSeeds:
    def test_values_are_means_over_seeds(self):
        a, b = [some_ranks(seed) for seed in (0, 1, 2)], [some_ranks(seed) for seed in (3, 4)]
        found = compare_ranks(a, b, RAGGED, resamples=1000)["rsum"]
        means = [sum(summarise(ranks)["rsum"] for ranks in side) / len(side) for side in (a, b)]
        assert found[:3] == pytest.approx((*means, means[1] - means[0]))

    def test_identical_seeds_equal_single_models(self):
        """Copies of a model have no seed variance, so the result equals that of single models."""
        owners = torch.arange(300)
        generator = torch.Generator().manual_seed(0)
        a, b = (random_ranks(owners, 0.4, generator) for _ in range(2))
        copies = compare_ranks([a] * 3, [b] * 3, owners)["mean_r1"]
        single = compare_ranks([a], [b], owners)["mean_r1"]
        assert (copies.low, copies.high) == pytest.approx((single.low, single.high), abs=0.4)
        assert copies.p == pytest.approx(single.p, abs=0.03)

    def test_seed_variance_gives_students_t_interval(self):
        """No image variance, and seeds at -1, 0, 1 and 9, 10, 11: t with 4 degrees of freedom is 2.776."""
        full_a, full_b = (torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64) + shift for shift in (0, 10))
        drawn = [full.expand(1000, 3, 1) for full in (full_a, full_b)]
        error, freedom = standard_error(full_a, full_b, *drawn, images=100)
        assert float(error) == pytest.approx((2 / 3) ** 0.5)
        assert float(freedom) == pytest.approx(4)
        _, low, high = t_test(torch.tensor([10.0], dtype=torch.float64), error, freedom)
        assert float(high - low) / 2 == pytest.approx(2.776 * (2 / 3) ** 0.5, abs=0.001)

    def test_variances_add_with_satterthwaite_freedom(self):
        """Seed variance 2/3 as above, and image variance 4, shared by all seeds of side b."""
        full = torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64)
        moves = 2 * torch.randn(20_000, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        error, freedom = standard_error(full, full, full.expand(20_000, 3, 1), full + moves, images=100)
        assert float(error) ** 2 == pytest.approx(4 + 2 / 3, rel=0.02)
        assert float(freedom) == pytest.approx((4 + 2 / 3) ** 2 / ((2 / 3) ** 2 / 4 + 16 / 99), rel=0.02)

    def test_variance_of_single_results_is_not_counted_twice(self):
        """Seeds that vary independently over bootstrap samples leave no image variance."""
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn(4000, 50, 1, generator=generator, dtype=torch.float64) for _ in range(2)]
        full = torch.zeros(50, 1, dtype=torch.float64)
        error, _ = standard_error(full, full, *drawn, images=100)
        assert float(error) < 0.3 * (2 / 50) ** 0.5


class TestExceptions:
    @pytest.mark.parametrize(("seeds_a", "seeds_b"), [(1, 3), (2, 1), (0, 1)])
    def test_one_seed_and_several_seeds(self, seeds_a, seeds_b):
        with pytest.raises(ConfigError, match=rf"side a has {seeds_a} and side b has {seeds_b} seeds; .* at least two"):
            compare_ranks([some_ranks(0)] * seeds_a, [some_ranks(1)] * seeds_b, RAGGED)

    def test_too_few_resamples(self):
        with pytest.raises(ConfigError, match="resamples=999 must be >= 1000"):
            compare_ranks([some_ranks(0)], [some_ranks(1)], RAGGED, resamples=999)
