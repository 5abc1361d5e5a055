"""Invariances of the significance tests, and their calibration: a type I error of 5 % in simulations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tangka_match.analysis.significance import METRICS, compare_ranks, sign_flip_test, standard_error, t_test
from tangka_match.metrics import Ranks
from tangka_match.metrics.intervals import draw_images

IMAGES = 363
ONE_EACH = torch.arange(IMAGES)
RAGGED = ONE_EACH.repeat_interleave(1 + torch.arange(IMAGES) % 5)


@st.composite
def sides(draw):
    """Draw owners, and one to three seeds per side."""
    images = draw(st.integers(2, 12))
    owners = torch.arange(images).repeat_interleave(
        torch.tensor(draw(st.lists(st.integers(1, 3), min_size=images, max_size=images)))
    )
    seeds = draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))

    def side():
        sizes = (images, len(owners))
        return [Ranks(*(torch.randint(1, 14, (n,), generator=generator) for n in sizes)) for _ in range(seeds)]

    return owners, side(), side(), generator


@settings(max_examples=30, deadline=None)
@given(sides())
def test_exchanging_sides_flips_signs(drawn):
    owners, a, b, _ = drawn
    there, back = compare_ranks(a, b, owners, resamples=1000), compare_ranks(b, a, owners, resamples=1000)
    for metric in METRICS:
        one, other = there[metric], back[metric]
        assert (one.a, one.b, one.p) == (other.b, other.a, other.p)
        assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))


@settings(max_examples=20, deadline=None)
@given(sides())
def test_side_compared_with_itself(drawn):
    owners, a, _, _ = drawn
    for found in compare_ranks(a, a, owners, resamples=1000).values():
        assert (found.difference, found.p) == (0.0, 1.0)
        assert found.low <= 0 <= found.high


@settings(max_examples=20, deadline=None)
@given(sides())
def test_result_does_not_depend_on_caption_order(drawn):
    owners, a, b, generator = drawn
    order = torch.randperm(len(owners), generator=generator)
    shuffled = ([Ranks(r.i2t, r.t2i[order]) for r in side] for side in (a, b))
    before, after = (
        compare_ranks(a, b, owners, resamples=1000),
        compare_ranks(*shuffled, owners[order], resamples=1000),
    )
    for metric in METRICS:
        assert before[metric] == pytest.approx(after[metric])


# ---- Calibration -------------------------------------------------------------------------------------------------


def answers(simulations, owners, generator, *, gain=0.0, seeds=1, of_recipe=1.0, of_seed=0.0):
    """Simulate correct queries of a recipe, (simulations, seeds, queries) for images and captions, near R@1 37 %.

    The success of a query depends on the easiness of its image (shared by both recipes), on the affinity of the recipe
    to the image, on the quality of the seed, and on chance.
    """
    affinity = of_recipe * torch.randn(simulations, 1, IMAGES, generator=generator)
    level = gain + of_seed * torch.randn(simulations, seeds, 1, generator=generator)

    def answer(easy):
        chance = torch.sigmoid(easy + affinity + level)
        drawn = (
            torch.rand(simulations, seeds, len(rows), generator=generator) < chance[..., rows]
            for rows in (ONE_EACH, owners)
        )
        return tuple(hits.double() for hits in drawn)

    return answer


def equal_or_not(simulations, owners, generator, gain=0.0, **variation):
    """Simulate two recipes that differ by ``gain`` in log-odds."""
    easy = 2 * torch.randn(simulations, 1, IMAGES, generator=generator) - 0.9
    a = answers(simulations, owners, generator, **variation)(easy)
    return a, answers(simulations, owners, generator, gain=gain, **variation)(easy)


def by_image(hits, owners):
    """Compute the contribution of each image to mean R@1, (images, simulations x seeds)."""
    of_images, of_captions = (part.flatten(0, 1).T for part in hits)
    captions = torch.zeros_like(of_images).index_add_(0, owners, of_captions)
    return 50 * (of_images / IMAGES + captions / len(owners))


def rejected_percent(p_values):
    return 100 * (p_values < 0.05).double().mean().item()


@pytest.mark.parametrize("owners", [ONE_EACH, RAGGED], ids=["one caption", "ragged captions"])
def test_type_i_error_of_equal_models(owners):
    generator = torch.Generator().manual_seed(0)
    p_values = []
    for _ in range(8):
        a, b = equal_or_not(500, owners, generator)
        p_values.append(sign_flip_test(by_image(b, owners) - by_image(a, owners), 4000, generator).p_values())
    assert rejected_percent(torch.cat(p_values)) == pytest.approx(5, abs=1)


@pytest.mark.parametrize("metric", ["i2t_r1", "t2i_r5", "mean_r1", "rsum", "i2t_mean_rank"])
def test_type_i_error_of_each_metric(all_metrics, metric):
    """With 400 simulations the standard error of 5 % is 1.1 points; three are allowed."""
    found = [comparison[metric] for comparison in all_metrics]
    assert rejected_percent(torch.tensor([f.p for f in found])) == pytest.approx(5, abs=3.3)
    for f in found:
        assert (f.low >= 0 or f.high <= 0) if f.p < 0.05 else f.low <= 0 <= f.high


@pytest.fixture(scope="module")
def all_metrics():
    generator = torch.Generator().manual_seed(0)

    def model(easy):
        """Draw lognormal ranks around the easiness of the image and the affinity of the model to it."""
        liked = easy + torch.randn(IMAGES, generator=generator)
        noise = (torch.randn(size, generator=generator) for size in (IMAGES, len(RAGGED)))
        i2t, t2i = (base + part for base, part in zip((liked, liked[RAGGED]), noise, strict=True))
        return Ranks((i2t + 1).exp().ceil().long(), (t2i + 1).exp().ceil().long())

    comparisons = []
    for seed in range(400):
        easy = torch.randn(IMAGES, generator=generator)
        comparisons.append(compare_ranks([model(easy)], [model(easy)], RAGGED, resamples=1000, seed=seed))
    return comparisons


RECIPES = {
    "single results vary": {"of_recipe": 0.0, "of_seed": 0.0},
    "seeds vary": {"of_recipe": 0.0, "of_seed": 0.15},
    "seeds vary much": {"of_recipe": 0.0, "of_seed": 0.8},
    "recipes have different easy images": {"of_recipe": 1.5, "of_seed": 0.0},
    "all vary": {"of_recipe": 1.0, "of_seed": 0.15},
}


def p_of_recipes(simulations, generator, gain=0.0, seeds=3, **variation):
    a, b = equal_or_not(simulations, RAGGED, generator, gain=gain, seeds=seeds, **variation)
    drawn = draw_images(IMAGES, 1000, generator)
    sides = []
    for images, captions in (a, b):
        of_images, of_captions = (part.flatten(0, 1).T for part in (images, captions))
        sums = torch.zeros_like(of_images).index_add_(0, RAGGED, of_captions)
        sizes = torch.bincount(RAGGED).double()
        values = 50 * (drawn @ of_images / IMAGES + drawn @ sums / (drawn @ sizes)[:, None])
        full = by_image((images, captions), RAGGED).sum(dim=0)
        sides.append((full.unflatten(0, (-1, seeds)).T, values.unflatten(1, (-1, seeds)).transpose(1, 2)))
    (full_a, drawn_a), (full_b, drawn_b) = sides
    error, freedom = standard_error(full_a, full_b, drawn_a, drawn_b, images=IMAGES)
    return t_test(full_b.mean(dim=0) - full_a.mean(dim=0), error, freedom)[0]


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("variation", RECIPES.values(), ids=RECIPES)
def test_type_i_error_of_equal_recipes(variation, seeds):
    generator = torch.Generator().manual_seed(0)
    p_values = torch.cat([p_of_recipes(250, generator, seeds=seeds, **variation) for _ in range(8)])
    assert rejected_percent(p_values) == pytest.approx(5, abs=1)


class TestPower:
    def test_two_models(self):
        """A gain of 0.6 in log-odds, 8 points of mean R@1."""
        generator = torch.Generator().manual_seed(0)
        a, b = equal_or_not(500, RAGGED, generator, gain=0.6)
        contributions = by_image(b, RAGGED) - by_image(a, RAGGED)
        assert 6 < contributions.sum(dim=0).mean() < 10
        assert rejected_percent(sign_flip_test(contributions, 2000, generator).p_values()) > 80

    def test_two_recipes(self):
        p_values = p_of_recipes(250, torch.Generator().manual_seed(0), gain=0.6, of_recipe=1.0, of_seed=0.1)
        assert rejected_percent(p_values) > 80
