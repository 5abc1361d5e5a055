"""Properties of all matchers: a score depends on its image and its caption only, also in half precision."""

import copy
from unittest import mock

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from helpers.random_pairs import NUM_REGIONS, pairs, random_pairs
from helpers.small_matchers import SMALL, small_matcher
from tangka_match.ops import attention
from tangka_match.types import Encoded, Matcher

each_matcher = pytest.mark.parametrize("name", SMALL)
few = settings(deadline=None, max_examples=12)


@each_matcher
def test_follows_the_matcher_protocol(name):
    assert isinstance(small_matcher(name), Matcher)


@each_matcher
@few
@given(data=pairs, image_chunk=st.integers(1, 4), caption_chunk=st.integers(1, 4))
@torch.no_grad()
def test_chunks_equal_the_whole_matrix(name, data, image_chunk, caption_chunk):
    model = small_matcher(name).double().eval()
    data = data._replace(regions=data.regions.double())
    whole = data.score(model)
    images = model.encode_images(data.regions, data.region_mask)
    texts = model.encode_texts(data.token_ids, data.token_mask)
    rows = [
        torch.cat([model.similarity(images[i : i + image_chunk], texts[c : c + caption_chunk]) for c in starts], dim=1)
        for i in range(0, len(images), image_chunk)
        for starts in [range(0, len(texts), caption_chunk)]
    ]
    torch.testing.assert_close(torch.cat(rows), whole, atol=1e-12, rtol=0)
    parts = [model.encode_texts(*data.captions(slice(c, c + 1))[2:]) for c in range(len(texts))]
    torch.testing.assert_close(model.similarity(images, Encoded.concatenate(parts)), whole, atol=1e-12, rtol=0)


@each_matcher
@few
@given(data=pairs, seed=st.integers(0, 2**31))
@torch.no_grad()
def test_scores_do_not_depend_on_order(name, data, seed):
    model = small_matcher(name).double().eval()
    data = data._replace(regions=data.regions.double())
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(data.regions), generator=generator)
    columns = torch.randperm(len(data.token_ids), generator=generator)
    shuffled = data.images(rows).captions(columns).score(model)
    torch.testing.assert_close(shuffled, data.score(model)[rows][:, columns], atol=1e-12, rtol=0)


@each_matcher
@pytest.mark.parametrize("training", [False, True])
@few
@given(data=pairs, extra=st.integers(1, 3))
def test_scores_do_not_depend_on_padding(name, training, data, extra):
    data = data._replace(regions=data.regions.double())
    longer = data._replace(
        regions=data.regions.masked_fill(~data.region_mask[:, :, None], 7.0),
        token_ids=pad(data.token_ids, (0, extra), value=3),
        token_mask=pad(data.token_mask, (0, extra)),
    )
    scores = [x.score(small_matcher(name).double().train(training)) for x in (data, longer)]
    torch.testing.assert_close(scores[1], scores[0], atol=1e-12, rtol=0)


@each_matcher
@few
@given(data=pairs)
def test_gradient_of_masked_regions_is_zero(name, data):
    model = small_matcher(name)
    regions = data.regions.clone().requires_grad_()
    data._replace(regions=regions).score(model).sum().backward()
    assert (regions.grad[~data.region_mask] == 0).all()
    assert (regions.grad[data.region_mask] != 0).any()


@each_matcher
def test_absent_regions_equal_masked_regions(name):
    data = random_pairs(seed=1, images=3, captions=2, words=4, holes=False)
    short = data._replace(regions=data.regions[:, :4], region_mask=data.region_mask[:, :4])
    masked = data._replace(region_mask=data.region_mask & (torch.arange(NUM_REGIONS) < 4))
    for training in (True, False):
        scores = [x.score(small_matcher(name).train(training)) for x in (short, masked)]
        torch.testing.assert_close(scores[0], scores[1], atol=1e-6, rtol=0)


@each_matcher
@pytest.mark.parametrize("training", [False, True])
def test_one_image_and_one_word_give_finite_gradients(name, training):
    scores = random_pairs(seed=2, images=1, captions=1, words=1).score(model := small_matcher(name).train(training))
    scores.sum().backward()
    assert scores.shape == (1, 1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@each_matcher
@pytest.mark.parametrize("training", [False, True])
def test_empty_region_rows_keep_gradients_finite(name, training):
    """All-zero regions that are not masked, and an image without real regions."""
    data = random_pairs(seed=3, images=3, captions=3, words=4)
    data.regions[0] = 0
    data.region_mask[1] = False
    model = small_matcher(name).train(training)
    for key, parameter in model.named_parameters():
        if key.endswith("bias"):
            parameter.data.zero_()
    scores = data.score(model)
    scores.sum().backward()
    assert scores.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


# bfloat16 has 8 bits of significand: rounding a number changes it by a factor of up to 1 + 2^-8.
ROUNDING = 2.0**-8
# From a weight or a region to a dot product there are about four roundings: the number itself, the projection, the
# L2-normalised vector, and the product.
ROUNDINGS = 4
# Random changes are not the worst case: allow twice the largest of eight.
DRAWS, SAFETY = 8, 2


@torch.no_grad()
def half_precision_error(name, data, softmax=attention.masked_softmax):
    """Compute the error of each score in half precision, as a multiple of the expected effect of rounding.

    Rounding moves a score as much as relative changes of ``ROUNDINGS * ROUNDING`` in all weights and regions do
    (backward stability), plus one rounding of the score itself. The effect of such changes is measured in float64, for
    each pair, because it has no useful bound: the attention of SCAN and SGRAF multiplies cosines by lambda = 9 after
    dividing them by their norm over the words. For a caption of one word this is the sign of the cosine, and the
    rounding of a cosine close to 0 changes an attention weight by a factor of exp(9).
    """
    model = small_matcher(name).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16), mock.patch.object(attention, "masked_softmax", softmax):
        half = data.score(model)
    assert half.dtype == torch.float32
    exact_model, regions = copy.deepcopy(model).double(), data.regions.double()
    exact = data._replace(regions=regions).score(exact_model)
    allowed = torch.full_like(exact, ROUNDING)
    for seed in range(DRAWS):
        generator = torch.Generator().manual_seed(seed)
        weights = {key: changed(p, generator) for key, p in exact_model.named_parameters()}
        changed_model = copy.deepcopy(exact_model)
        changed_model.load_state_dict(weights, strict=False)
        score = data._replace(regions=changed(regions, generator)).score(changed_model)
        allowed = torch.maximum(allowed, ROUNDING + SAFETY * (score - exact).abs())
    return ((half - exact).abs() / allowed).max()


def changed(numbers, generator):
    noise = 2 * torch.rand(numbers.shape, generator=generator, dtype=numbers.dtype) - 1
    return numbers * (1 + ROUNDINGS * ROUNDING * noise)


@each_matcher
@few
@given(data=pairs)
@example(data=random_pairs(seed=595, images=4, captions=1, words=1))  # an error of 0.13 for SCAN: a cosine close to 0
def test_half_precision_error_is_within_rounding(name, data):
    assert half_precision_error(name, data) <= 1


@pytest.mark.parametrize("factor", [0.5, 2])
@pytest.mark.parametrize("name", ["scan_t2i", "vse"])
def test_half_precision_bound_detects_a_wrong_temperature(name, factor):
    def wrong_softmax(logits, *args, **options):
        return softmax(factor * logits, *args, **options)

    softmax = attention.masked_softmax
    data = random_pairs(seed=1, images=5, captions=5, words=7)
    assert half_precision_error(name, data) <= 1
    assert half_precision_error(name, data, wrong_softmax) > 1


@each_matcher
@torch.no_grad()
def test_scores_stay_in_range(name):
    scores = random_pairs(seed=4, images=20, captions=20, words=6).score(small_matcher(name).eval())
    lowest, highest = (0 if name in {"sgr", "saf"} else -1), 1
    if name == "cca_hubs":  # each side subtracts half of a difference between two means of cosines
        lowest, highest = lowest - 2, highest + 2
    assert scores.min() >= lowest - 1e-5
    assert scores.max() <= highest + 1e-5
    assert scores.std() > 1e-4
