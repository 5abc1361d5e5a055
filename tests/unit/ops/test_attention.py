import pytest
import torch
from hypothesis import given, settings

from helpers.random_pairs import Pairs, pairs
from tangka_match.ops import (
    attended_cosine,
    real_positions,
    stacked_cross_attention,
    unit_context_weights,
    unpack_words,
    word_region_attention,
)


def vectors(data: Pairs, seed: int, dim: int = 4):
    generator = torch.Generator().manual_seed(seed)
    shapes = (*data.token_mask.shape, dim), (*data.region_mask.shape, dim)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


@settings(deadline=None, max_examples=20)
@given(data=pairs)
def test_word_region_attention_equals_the_formula_pair_by_pair(data):
    words, regions = vectors(data, seed=0)
    found = word_region_attention(words, regions, data.region_mask)
    assert (found[~data.region_mask] == 0).all()
    for image, (rows, real_rows) in enumerate(zip(regions, data.region_mask, strict=True)):
        for caption, columns in enumerate(words):
            affinity = torch.nn.functional.leaky_relu(rows[real_rows] @ columns.T, 0.1)
            affinity = affinity / (affinity.norm(dim=1, keepdim=True) + 1e-8)
            torch.testing.assert_close(found[image, real_rows, caption], torch.softmax(9 * affinity, dim=0))


def test_word_region_attention_of_half_precision_vectors_sums_to_one_in_float32():
    """A softmax in bfloat16 would be off by up to 2^-8."""
    generator = torch.Generator().manual_seed(0)
    words, regions = torch.randn(3, 5, 16, generator=generator), torch.randn(4, 36, 16, generator=generator)
    weights = word_region_attention(words.bfloat16(), regions.bfloat16(), torch.ones(4, 36, dtype=torch.bool))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4, 3, 5), atol=1e-6, rtol=0)


@settings(deadline=None, max_examples=20)
@given(data=pairs)
def test_unit_context_weights_give_normalised_contexts(data):
    words, regions = vectors(data, seed=0)
    weights = word_region_attention(words, regions, data.region_mask).flatten(2)
    scaled = unit_context_weights(weights, regions @ regions.mT)
    contexts = scaled.mT @ regions
    torch.testing.assert_close(contexts, torch.nn.functional.normalize(weights.mT @ regions, dim=2))


def test_zero_context_stays_zero_with_zero_gradient():
    weights, gram = torch.ones(1, 2, 3, requires_grad=True), torch.zeros(1, 2, 2, requires_grad=True)
    scaled = unit_context_weights(weights, gram)
    scaled.sum().backward()
    assert (scaled == 0).all()
    assert (weights.grad == 0).all()
    assert gram.grad.isfinite().all()


@settings(deadline=None, max_examples=20)
@given(data=pairs)
def test_attended_cosine_equals_explicit_contexts(data):
    words, regions = vectors(data, seed=0)
    queries, keys = vectors(data, seed=1)
    queries, words = queries[data.token_mask], words[data.token_mask]
    found = attended_cosine(queries, words, keys, regions, data.region_mask, smooth=2.0)
    for image, real in enumerate(data.region_mask):
        context = torch.softmax(2 * queries @ keys[image, real].T, dim=1) @ regions[image, real]
        expected = (context * words).sum(1) / context.norm(dim=1)
        torch.testing.assert_close(found[image], expected)


@pytest.mark.parametrize("chunk", [7, 36, 50])  # under, at and over the number of regions
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attended_cosine_does_not_depend_on_other_words_under_autocast(dtype, chunk):
    generator = torch.Generator().manual_seed(0)
    queries, words = torch.nn.functional.normalize(torch.randn(2, 120, 32, generator=generator), dim=-1).to(dtype)
    keys, values = torch.nn.functional.normalize(torch.randn(2, 5, 36, 32, generator=generator), dim=-1).to(dtype)
    mask = torch.rand(5, 36, generator=generator) > 0.1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole = attended_cosine(queries, words, keys, values, mask)
        pieces = zip(queries.split(chunk), words.split(chunk), strict=True)
        parts = [attended_cosine(*piece, keys, values, mask) for piece in pieces]
    assert whole.dtype == torch.float32
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [2, 5])
def test_attended_cosine_of_an_image_without_regions_is_zero(count):
    mask = torch.tensor([[False] * 3])
    x = torch.ones(1, 3, 3, requires_grad=True)
    found = attended_cosine(torch.ones(count, 3), torch.ones(count, 3), x, x, mask)
    found.sum().backward()
    assert (found == 0).all()
    assert (x.grad == 0).all()


def test_unpack_words_inverts_the_selection_of_real_words():
    mask = torch.tensor([[True, False, False], [True, True, True], [True, True, False]])
    x = torch.randn(2, 3, 3, 4, requires_grad=True)
    unpacked = unpack_words(x[:, mask], real_positions(mask), mask.shape)
    assert torch.equal(unpacked, x.masked_fill(~mask[:, :, None], 0))
    unpacked.sum().backward()
    assert torch.equal(x.grad[0, :, :, 0], mask.float())


@settings(deadline=None, max_examples=20)
@given(data=pairs)
def test_stacked_cross_attention_ignores_masked_vectors(data):
    """Compared with zeros at padding; the formula itself is tested in models/test_scan.py."""
    words, regions = (torch.nn.functional.normalize(each, dim=2) for each in vectors(data, seed=0))
    empty = [x.masked_fill(~mask[:, :, None], 0) for x, mask in ((words, data.token_mask), (regions, data.region_mask))]
    found, expected = (
        stacked_cross_attention(queries, data.token_mask, context, data.region_mask, 9.0)[:, data.token_mask]
        for queries, context in ((words, regions), empty)
    )
    torch.testing.assert_close(found, expected)
