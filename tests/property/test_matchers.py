"""What every matcher promises: a score depends on its image and its caption, and on nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pad

from helpers.random_pairs import NUM_REGIONS, pairs, random_pairs
from helpers.small_matchers import SMALL, small_matcher
from tangka_match.types import Encoded, Matcher

each_matcher = pytest.mark.parametrize("name", SMALL)
few = settings(deadline=None, max_examples=12)


@each_matcher
def test_is_a_matcher(name):
    assert isinstance(small_matcher(name), Matcher)


@each_matcher
@few
@given(data=pairs, image_chunk=st.integers(1, 4), caption_chunk=st.integers(1, 4))
@torch.no_grad()
def test_chunks_give_the_same_matrix(name, data, image_chunk, caption_chunk):
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
def test_order_does_not_matter(name, data, seed):
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
def test_padding_has_no_influence(name, training, data, extra):
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
def test_masked_regions_get_no_gradient(name, data):
    model = small_matcher(name)
    regions = data.regions.clone().requires_grad_()
    data._replace(regions=regions).score(model).sum().backward()
    assert (regions.grad[~data.region_mask] == 0).all()
    assert (regions.grad[data.region_mask] != 0).any()


@each_matcher
def test_fewer_region_columns_equal_masked_ones(name):
    data = random_pairs(seed=1, images=3, captions=2, words=4, holes=False)
    short = data._replace(regions=data.regions[:, :4], region_mask=data.region_mask[:, :4])
    masked = data._replace(region_mask=data.region_mask & (torch.arange(NUM_REGIONS) < 4))
    for training in (True, False):
        scores = [x.score(small_matcher(name).train(training)) for x in (short, masked)]
        torch.testing.assert_close(scores[0], scores[1], atol=1e-6, rtol=0)


@each_matcher
@pytest.mark.parametrize("training", [False, True])
def test_one_image_one_word(name, training):
    scores = random_pairs(seed=2, images=1, captions=1, words=1).score(model := small_matcher(name).train(training))
    scores.sum().backward()
    assert scores.shape == (1, 1)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@each_matcher
@pytest.mark.parametrize("training", [False, True])
def test_empty_region_rows_keep_gradients_finite(name, training):
    """All-zero regions that are not masked, and an image without any real region, spoil nothing."""
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


@each_matcher
@few
@given(data=pairs)
@torch.no_grad()
def test_half_precision_stays_close(name, data):
    model = small_matcher(name).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = data.score(model)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, data.score(model), atol=0.1, rtol=0)


@each_matcher
@torch.no_grad()
def test_scores_stay_in_range(name):
    scores = random_pairs(seed=4, images=20, captions=20, words=6).score(small_matcher(name).eval())
    lowest = 0 if name in {"sgr", "saf"} else -1
    assert scores.min() >= lowest - 1e-5
    assert scores.max() <= 1 + 1e-5
    assert scores.std() > 1e-4
