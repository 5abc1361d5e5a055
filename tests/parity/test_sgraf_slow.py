"""SGRAF equals a slow reference implementation in values and gradients."""

import pytest
import torch
from hypothesis import given, settings

from benchmarks.slow_sgraf import slow_captions, slow_images, slow_sgraf
from helpers.gradients import assert_same_gradients
from helpers.random_pairs import pairs, random_pairs
from helpers.small_matchers import small_matcher


def scores_of_both(name, data, training):
    model = small_matcher(name).double().train(training)
    data = data._replace(regions=data.regions.double())
    state = {
        key: value.clone() for key, value in model.named_buffers()
    }  # the first pass updates the running statistics
    slow = slow_sgraf(
        {**dict(model.named_parameters()), **state},
        slow_images(data.regions, data.region_mask),
        slow_captions(data.token_ids, data.token_mask),
        training=training,
    )
    return model, data.score(model), slow


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["sgr", "saf"])
@settings(deadline=None, max_examples=15)
@given(data=pairs)
def test_scores(name, training, data):
    _, fast, slow = scores_of_both(name, data, training)
    torch.testing.assert_close(fast, slow, atol=1e-9, rtol=0)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["sgr", "saf"])
@settings(deadline=None, max_examples=5)
@given(data=pairs)
def test_gradients(name, training, data):
    model, fast, slow = scores_of_both(name, data, training)
    assert_same_gradients(fast, slow, model.parameters(), atol=1e-8, rtol=1e-6)


def test_running_statistics_equal_one_update_per_caption():
    """One call with C captions equals C calls with one caption each."""
    data = random_pairs(seed=5, images=4, captions=5, words=6)
    together, one_by_one = small_matcher("saf").train(), small_matcher("saf").train()
    data.score(together)
    images = one_by_one.encode_images(data.regions, data.region_mask)
    for column in range(5):
        texts = one_by_one.encode_texts(*data.captions(slice(column, column + 1))[2:])
        one_by_one.similarity(images, texts)
    expected = dict(one_by_one.named_buffers())
    for name, buffer in together.named_buffers():
        torch.testing.assert_close(buffer, expected[name], atol=1e-6, rtol=1e-5)
    assert together.sim_enc.SAF_module.bn.num_batches_tracked == 5
