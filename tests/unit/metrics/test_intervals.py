import math
import statistics

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.metrics import Ranks, confidence_intervals, intervals, summarise

ONE_EACH = torch.arange(363)


def ranks_with_recall(successes):
    """Return ranks of 363 pairs, of which ``successes`` have rank 1 in both directions."""
    found = torch.where(torch.arange(363) < successes, 1, 20)
    return Ranks(found, found)


def random_gallery(images=20, seed=0):
    """Draw ranks of images with one to four captions each, in shuffled order."""
    generator = torch.Generator().manual_seed(seed)
    owners = torch.arange(images).repeat_interleave(torch.randint(1, 5, (images,), generator=generator))
    owners = owners[torch.randperm(len(owners), generator=generator)]
    i2t = torch.randint(1, 20, (images,), generator=generator)
    return Ranks(i2t, torch.randint(1, 20, (len(owners),), generator=generator)), owners


def log_mean_and_error(clusters):
    """Compute the logarithm of the mean of all values and its standard error, with clusters as sampling units."""
    count = sum(len(values) for values in clusters)
    mean = sum(sum(values) for values in clusters) / count
    squares = sum((sum(values) - mean * len(values)) ** 2 for values in clusters)
    return math.log(mean), math.sqrt(squares * len(clusters) / (len(clusters) - 1)) / count / mean


class TestWidth:
    def test_close_to_the_binomial_interval(self):
        """For 37 % of 363 queries, 1.96 standard errors are 4.98 points."""
        share = 136 / 363
        half = 196 * math.sqrt(share * (1 - share) / 363)
        low, high = confidence_intervals(ranks_with_recall(136), ONE_EACH)["i2t_r1"]
        assert (low, high) == pytest.approx((100 * share - half, 100 * share + half), abs=0.6)

    def test_correlated_captions_do_not_narrow_the_interval(self):
        """Five captions with equal ranks carry the information of one."""
        single = confidence_intervals(ranks_with_recall(136), ONE_EACH)["t2i_r1"]
        found = ranks_with_recall(136).i2t
        five = Ranks(found, found.repeat_interleave(5))
        assert confidence_intervals(five, ONE_EACH.repeat_interleave(5))["t2i_r1"] == pytest.approx(single)

    def test_directions_move_together(self):
        """Where both directions agree on every image, their mean varies as much as each of them."""
        values = confidence_intervals(ranks_with_recall(136), ONE_EACH)
        assert values["mean_r1"] == pytest.approx(values["i2t_r1"])
        assert values["rsum"][1] - values["rsum"][0] == pytest.approx(6 * (values["i2t_r1"][1] - values["i2t_r1"][0]))

    def test_lower_level_is_narrower(self):
        wide = confidence_intervals(ranks_with_recall(136), ONE_EACH, level=0.95)["i2t_r1"]
        narrow = confidence_intervals(ranks_with_recall(136), ONE_EACH, level=0.5)["i2t_r1"]
        assert wide[0] < narrow[0] < narrow[1] < wide[1]

    @pytest.mark.parametrize("successes", [0, 1, 5, 136, 360, 363])
    def test_one_query_per_image_gives_the_interval_of_wilson(self, successes):
        """SciPy's interval of 363 trials; ours has 362, because the variance is estimated, or 363 where it is zero."""
        found = confidence_intervals(ranks_with_recall(successes), ONE_EACH)["i2t_r1"]
        wilson = binomtest(successes, 363).proportion_ci(0.95, method="wilson")
        assert found == pytest.approx((100 * wilson.low, 100 * wilson.high), abs=0.01)
        assert found[0] < found[1]

    def test_several_recalls_give_no_more_certainty_than_their_queries(self):
        """Where each image is found by exactly one of its two queries, the mean of the R@1 has no variance."""
        i2t = torch.where(torch.arange(100) < 50, 1, 20)
        low, high = confidence_intervals(Ranks(i2t, 21 - i2t), torch.arange(100))["mean_r1"]
        assert low < 44
        assert high > 56

    def test_equal_ranks_give_an_interval_of_one_point(self):
        found = confidence_intervals(ranks_with_recall(0), ONE_EACH)
        assert found["i2t_mean_rank"] == found["i2t_median_rank"] == (20.0, 20.0)


@pytest.mark.parametrize(
    ("images", "centre", "deviation", "metric", "least"),
    [(363, 4.5, 1.0, "mean_r1", 0.92), (40, 3.5, 1.2, "i2t_r5", 0.92), (40, 1.5, 1.5, "i2t_mean_rank", 0.88)],
)
def test_coverage_near_zero_and_of_skewed_ranks(images, centre, deviation, metric, least):
    """A percentile bootstrap covers about 5, 75 and 80 % here; experiments/2026-11-29_intervals has the table."""
    generator = torch.Generator().manual_seed(3)

    def draw(count):
        i2t, t2i = (centre + deviation * torch.randn(2, count, generator=generator)).exp().clamp(1, 363).long()
        return Ranks(i2t, t2i)

    truth = summarise(draw(200_000))[metric]
    found = [confidence_intervals(draw(images), torch.arange(images), 200)[metric] for _ in range(200)]
    assert sum(low <= truth <= high for low, high in found) / 200 >= least


class TestResampling:
    def test_images_without_queries_are_not_resampled(self):
        """A random gallery may hold two of a thousand images; resamples without both would have no rank at all."""
        ranks, images = Ranks(torch.tensor([1, 4]), torch.tensor([2, 5])), torch.tensor([17, 999])
        found = confidence_intervals(ranks, images, query_to_image=images)
        assert found == confidence_intervals(ranks, torch.arange(2))
        assert all(math.isfinite(end) for ends in found.values() for end in ends)

    @pytest.mark.parametrize("order_of_queries", ["once in order", "repeated in any order"])
    def test_intervals_match_explicit_resampling(self, monkeypatch, order_of_queries):
        """Summarises each resample separately and takes quantiles over the same draws."""
        ranks, owners = random_gallery()
        query_images, given = torch.arange(20), None
        if order_of_queries != "once in order":
            query_images = given = torch.cat([query_images, query_images[:7]])[
                torch.randperm(27, generator=torch.Generator().manual_seed(1))
            ]
            ranks = ranks._replace(i2t=ranks.t2i[torch.arange(27)])
        drawn = []
        original = intervals.draw_images

        def keep(*arguments):
            drawn.append(original(*arguments))
            return drawn[-1]

        monkeypatch.setattr(intervals, "draw_images", keep)
        monkeypatch.setattr(intervals, "CHUNK_ELEMENTS", 1000)
        found = confidence_intervals(ranks, owners, resamples=100, level=0.9, query_to_image=given)
        assert len(drawn) > 1
        assert {counts.shape[1] for counts in drawn} == {20}
        assert set(found) == set(summarise(ranks))
        resamples = torch.cat(drawn).long()
        for side, values, images in (("i2t", ranks.i2t, query_images), ("t2i", ranks.t2i, owners)):
            medians = [statistics.median(values.repeat_interleave(counts[images]).tolist()) for counts in resamples]
            assert found[f"{side}_median_rank"] == pytest.approx(np.quantile(medians, [0.05, 0.95]))
            clusters = [values[images == image].tolist() for image in range(20)]
            centre, error = log_mean_and_error(clusters)
            ratios = []
            for counts in resamples.tolist():
                mean, spread = log_mean_and_error([c for c, n in zip(clusters, counts, strict=True) for _ in range(n)])
                ratios.append((mean - centre) / spread)
            upper, lower = np.quantile(ratios, [0.95, 0.05])
            expected = (math.exp(centre - upper * error), math.exp(centre - lower * error))
            assert found[f"{side}_mean_rank"] == pytest.approx(expected)

    def test_resamples_have_the_size_of_the_gallery(self):
        drawn = intervals.draw_images(30, 200, torch.Generator().manual_seed(0))
        assert drawn.sum(dim=1).tolist() == [30.0] * 200
        assert statistics.mean((drawn == 0).sum(dim=1).tolist()) == pytest.approx(30 / math.e, abs=0.7)

    def test_seed_fixes_the_resamples(self):
        ranks, owners = random_gallery()
        first = confidence_intervals(ranks, owners, resamples=200, seed=1)
        assert confidence_intervals(ranks, owners, resamples=200, seed=1) == first
        assert confidence_intervals(ranks, owners, resamples=200, seed=2) != first

    def test_global_random_state_is_unchanged(self):
        ranks, owners = random_gallery()
        before = torch.get_rng_state()
        confidence_intervals(ranks, owners, resamples=100)
        assert torch.equal(torch.get_rng_state(), before)


class TestMistakes:
    @pytest.mark.parametrize("owners", [torch.arange(5), torch.tensor([0, 1, 7])])
    def test_ground_truth_of_another_gallery_is_an_error(self, owners):
        ranks = Ranks(torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64))
        with pytest.raises(ShapeError, match=rf"caption_to_image has {len(owners)} captions with rows up to"):
            confidence_intervals(ranks, owners)

    def test_too_few_resamples_are_an_error(self):
        with pytest.raises(ConfigError, match="resamples=10 must be >= 100"):
            confidence_intervals(ranks_with_recall(136), ONE_EACH, resamples=10)

    @pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
    def test_level_out_of_range_is_an_error(self, level):
        with pytest.raises(ConfigError, match=f"level={level}"):
            confidence_intervals(ranks_with_recall(136), ONE_EACH, level=level)
