from itertools import product

import pytest
import torch

from helpers.rank_tables import random_ranks
from tangka_match.analysis import significance
from tangka_match.analysis.significance import METRICS, compare_ranks, hierarchical_deviations, sign_flip_p_values
from tangka_match.errors import ConfigError
from tangka_match.metrics import Ranks, summarise

RAGGED = torch.tensor([2, 0, 0, 1, 2, 2, 3, 4, 4, 5])
"""Ten captions, one to three an image, in no order."""


def ranks(i2t, t2i):
    return Ranks(torch.tensor(i2t), torch.tensor(t2i))


def some_ranks(seed):
    generator = torch.Generator().manual_seed(seed)
    return Ranks(*(torch.randint(1, 14, (size,), generator=generator) for size in (6, 10)))


def exact_mid_p(shares):
    """Every way to throw the coins, one by one."""
    observed = abs(sum(shares))
    sums = [
        abs(sum(s * x for s, x in zip(signs, shares, strict=True))) for signs in product((1, -1), repeat=len(shares))
    ]
    further = sum(s > observed + 1e-9 for s in sums)
    as_far = sum(abs(s - observed) <= 1e-9 for s in sums)
    return (further + as_far / 2) / len(sums)


class TestByHand:
    """Three images, the last with two captions. Image 0 is found by b only, both ways; caption 3 by a only."""

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

    def test_p_is_that_of_all_exchanges(self):
        """Of mean R@1 image 0 adds 1/6 + 1/8, image 2 takes 1/8. Of four exchanges two are as far, two further: 3/4."""
        shares = [100 / 6 + 100 / 8, 0.0, -100 / 8]
        assert exact_mid_p(shares) == 0.75
        found = compare_ranks([self.A], [self.B], self.OWNERS, resamples=20_000)
        assert found["mean_r1"].p == pytest.approx(0.75, abs=0.01)
        assert found["t2i_r1"].p == 1.0

    def test_images_change_sides_with_all_their_captions(self):
        """Three captions of one image, all better in b, are one throw: 1/2 at best, where 3 throws would say 1/8."""
        a, b = ranks([1, 1], [9, 9, 9, 1]), ranks([1, 1], [1, 1, 1, 1])
        found = compare_ranks([a], [b], torch.tensor([0, 0, 0, 1]), resamples=20_000)
        assert found["t2i_r1"].p == pytest.approx(0.5, abs=0.01)


class TestOneModelASide:
    @pytest.mark.parametrize("seed", range(3))
    def test_values_are_those_of_summarise(self, seed):
        a, b = some_ranks(seed), some_ranks(seed + 50)
        for metric, found in compare_ranks([a], [b], RAGGED, resamples=1000).items():
            assert (found.a, found.b) == pytest.approx((summarise(a)[metric], summarise(b)[metric]))

    def test_p_against_all_exchanges(self):
        generator = torch.Generator().manual_seed(0)
        shares = torch.randint(-2, 3, (8, 5), generator=generator).double()
        p_values = sign_flip_p_values(shares, 100_000, generator)
        assert p_values.tolist() == pytest.approx(
            [1.0 if column.sum() == 0 else exact_mid_p(column.tolist()) for column in shares.T], abs=0.006
        )

    def test_the_interval_against_resampling_one_by_one(self, monkeypatch):
        """The same draws, each made into a gallery of its own and summarised."""
        a, b = some_ranks(1), some_ranks(2)
        drawn, original = [], significance.draw_images

        def keep(*arguments):
            drawn.append(original(*arguments))
            return drawn[-1]

        monkeypatch.setattr(significance, "draw_images", keep)
        monkeypatch.setattr(significance, "CHUNK_ELEMENTS", 3000)
        found = compare_ranks([a], [b], RAGGED, resamples=1000)
        assert len(drawn) == 2
        differences = {metric: [] for metric in METRICS}
        for counts in torch.cat(drawn).long():
            one, other = (
                summarise(Ranks(r.i2t.repeat_interleave(counts), r.t2i.repeat_interleave(counts[RAGGED])))
                for r in (a, b)
            )
            for metric in METRICS:
                differences[metric].append(other[metric] - one[metric])
        tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
        for metric, values in differences.items():
            expected = torch.tensor(values, dtype=torch.float64).quantile(tails).tolist()
            assert [found[metric].low, found[metric].high] == pytest.approx(expected), metric

    def test_chunks_do_not_change_p(self, monkeypatch):
        shares = torch.randn(30, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        whole = sign_flip_p_values(shares, 1000, torch.Generator().manual_seed(1))
        monkeypatch.setattr(significance, "CHUNK_ELEMENTS", 3000)
        in_chunks = sign_flip_p_values(shares, 1000, torch.Generator().manual_seed(1))
        assert torch.equal(whole, in_chunks)


class TestSeveralSeeds:
    def test_values_are_means_over_seeds(self):
        a, b = [some_ranks(seed) for seed in (0, 1, 2)], [some_ranks(seed) for seed in (3, 4)]
        found = compare_ranks(a, b, RAGGED, resamples=1000)["rsum"]
        means = [sum(summarise(ranks)["rsum"] for ranks in side) / len(side) for side in (a, b)]
        assert found[:3] == pytest.approx((*means, means[1] - means[0]))

    def test_seeds_that_agree_leave_the_variance_of_images(self):
        """Copies of one model show no seeds' part, and every answer is the side's mean: one model a side remains."""
        owners = torch.arange(300)
        generator = torch.Generator().manual_seed(0)
        a, b = (random_ranks(owners, 0.4, generator) for _ in range(2))
        copies = compare_ranks([a] * 3, [b] * 3, owners)["mean_r1"]
        single = compare_ranks([a], [b], owners)["mean_r1"]
        assert (copies.low, copies.high) == pytest.approx((single.low, single.high), abs=0.4)
        assert copies.p == pytest.approx(single.p, abs=0.03)

    def test_seeds_that_differ_widen_the_interval_by_students_t(self):
        """No variance between images, and seeds at -1, 0, 1 and 9, 10, 11: t of 4 degrees of freedom is 2.776."""
        full_a, full_b = (torch.tensor([[-1.0], [0.0], [1.0]], dtype=torch.float64) + shift for shift in (0, 10))
        drawn = [full.expand(100_000, 3, 1) for full in (full_a, full_b)]
        deviations = hierarchical_deviations(full_a, full_b, *drawn, torch.Generator().manual_seed(0))
        assert deviations.abs().quantile(0.95).item() == pytest.approx(2.776 * (2 / 3) ** 0.5, abs=0.03)

    def test_chance_of_single_answers_is_not_counted_as_a_difference_of_images(self):
        """Seeds whose answers on drawn images vary independently: nothing is left for the images' own part."""
        generator = torch.Generator().manual_seed(0)
        drawn = [torch.randn(4000, 50, 1, generator=generator, dtype=torch.float64) for _ in range(2)]
        full = torch.zeros(50, 1, dtype=torch.float64)
        deviations = hierarchical_deviations(full, full, *drawn, generator)
        assert deviations.std().item() < 0.3 * (2 / 50) ** 0.5


class TestMistakes:
    @pytest.mark.parametrize(("seeds_a", "seeds_b"), [(1, 3), (2, 1), (0, 1)])
    def test_one_seed_against_several(self, seeds_a, seeds_b):
        with pytest.raises(ConfigError, match=rf"a has {seeds_a} and b has {seeds_b} of the seeds .* at least two"):
            compare_ranks([some_ranks(0)] * seeds_a, [some_ranks(1)] * seeds_b, RAGGED)

    def test_resamples(self):
        with pytest.raises(ConfigError, match="resamples=999 is too few"):
            compare_ranks([some_ranks(0)], [some_ranks(1)], RAGGED, resamples=999)
