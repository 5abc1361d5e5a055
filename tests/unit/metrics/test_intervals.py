import math
import statistics

import pytest
import torch

from tangka_match.errors import ConfigError, ShapeError
from tangka_match.metrics import Ranks, bootstrap_intervals, intervals, summarise

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


class TestWidth:
    def test_close_to_the_binomial_interval(self):
        """For 37 % of 363 queries, 1.96 standard errors are 4.98 points."""
        share = 136 / 363
        half = 196 * math.sqrt(share * (1 - share) / 363)
        low, high = bootstrap_intervals(ranks_with_recall(136), ONE_EACH)["i2t_r1"]
        assert (low, high) == pytest.approx((100 * share - half, 100 * share + half), abs=0.6)

    def test_correlated_captions_do_not_narrow_the_interval(self):
        """Five captions with equal ranks carry the information of one."""
        single = bootstrap_intervals(ranks_with_recall(136), ONE_EACH)["t2i_r1"]
        found = ranks_with_recall(136).i2t
        five = Ranks(found, found.repeat_interleave(5))
        assert bootstrap_intervals(five, ONE_EACH.repeat_interleave(5))["t2i_r1"] == pytest.approx(single)

    def test_directions_move_together(self):
        """Where both directions agree on every image, their mean varies as much as each of them."""
        values = bootstrap_intervals(ranks_with_recall(136), ONE_EACH)
        assert values["mean_r1"] == pytest.approx(values["i2t_r1"])
        assert values["rsum"][1] - values["rsum"][0] == pytest.approx(6 * (values["i2t_r1"][1] - values["i2t_r1"][0]))

    def test_lower_level_is_narrower(self):
        wide = bootstrap_intervals(ranks_with_recall(136), ONE_EACH, level=0.95)["i2t_r1"]
        narrow = bootstrap_intervals(ranks_with_recall(136), ONE_EACH, level=0.5)["i2t_r1"]
        assert wide[0] < narrow[0] < narrow[1] < wide[1]

    @pytest.mark.parametrize(("successes", "percent"), [(0, 0.0), (363, 100.0)])
    def test_zero_width_where_all_queries_agree(self, successes, percent):
        assert bootstrap_intervals(ranks_with_recall(successes), ONE_EACH)["i2t_r1"] == (percent, percent)


class TestResampling:
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
        found = bootstrap_intervals(ranks, owners, resamples=100, level=0.9, query_to_image=given)
        assert len(drawn) > 1
        assert {counts.shape[1] for counts in drawn} == {20}
        summaries = []
        for counts in torch.cat(drawn).long():
            i2t = ranks.i2t.repeat_interleave(counts[query_images])
            t2i = ranks.t2i.repeat_interleave(counts[owners])
            summaries.append(summarise(Ranks(i2t, t2i)))
        assert set(found) == set(summaries[0])
        for name, (low, high) in found.items():
            values = torch.tensor([summary[name] for summary in summaries], dtype=torch.float64)
            assert (low, high) == pytest.approx((values.quantile(0.05).item(), values.quantile(0.95).item())), name

    def test_resamples_have_the_size_of_the_gallery(self):
        drawn = intervals.draw_images(30, 200, torch.Generator().manual_seed(0))
        assert drawn.sum(dim=1).tolist() == [30.0] * 200
        assert statistics.mean((drawn == 0).sum(dim=1).tolist()) == pytest.approx(30 / math.e, abs=0.7)

    def test_seed_fixes_the_resamples(self):
        ranks, owners = random_gallery()
        first = bootstrap_intervals(ranks, owners, resamples=200, seed=1)
        assert bootstrap_intervals(ranks, owners, resamples=200, seed=1) == first
        assert bootstrap_intervals(ranks, owners, resamples=200, seed=2) != first

    def test_global_random_state_is_unchanged(self):
        ranks, owners = random_gallery()
        before = torch.get_rng_state()
        bootstrap_intervals(ranks, owners, resamples=100)
        assert torch.equal(torch.get_rng_state(), before)


class TestMistakes:
    @pytest.mark.parametrize("owners", [torch.arange(5), torch.tensor([0, 1, 7])])
    def test_ground_truth_of_another_gallery_is_an_error(self, owners):
        ranks = Ranks(torch.ones(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64))
        with pytest.raises(ShapeError, match=rf"caption_to_image has {len(owners)} captions with rows up to"):
            bootstrap_intervals(ranks, owners)

    def test_too_few_resamples_are_an_error(self):
        with pytest.raises(ConfigError, match="resamples=10 must be >= 100"):
            bootstrap_intervals(ranks_with_recall(136), ONE_EACH, resamples=10)

    @pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
    def test_level_out_of_range_is_an_error(self, level):
        with pytest.raises(ConfigError, match=f"level={level}"):
            bootstrap_intervals(ranks_with_recall(136), ONE_EACH, level=level)
