import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.workload import REGIONS, Products, slow_similarity
from tangka_match.models import SGRAF

SIZES = {"vocab_size": 40, "feature_dim": 8, "embed_dim": 64, "word_dim": 4, "sim_dim": 32}


@pytest.fixture(params=["sgr", "saf"])
def scored(request):
    """A model, with what it encoded of 8 images and of captions of one length."""
    torch.manual_seed(0)
    model = SGRAF(**SIZES, reasoning=request.param).eval()
    with torch.no_grad():
        images = model.encode_images(torch.rand(8, REGIONS, 8), torch.ones(8, REGIONS, dtype=torch.bool))
        texts = model.encode_texts(torch.randint(40, (64, 6)), torch.ones(64, 6, dtype=torch.bool))
    return request.param, model, images, texts


@torch.no_grad()
def test_products_that_are_needed_are_nearly_all_that_are_done(scored):
    """The rest: dot products of each image's regions, weights folded once, norms of contexts."""
    reasoning, model, images, texts = scored
    needed = 8 * float(Products(embed=64, sim=32).of_pair(texts.mask.sum(dim=1).double(), reasoning).sum())
    with FlopCounterMode(display=False) as counter:
        model.similarity(images, texts)
    assert needed < counter.get_total_flops() / 2 < 1.35 * needed


@torch.no_grad()
def test_the_loop_needs_more_of_them(scored):
    reasoning, model, images, texts = scored
    needed = 8 * float(Products(embed=64, sim=32).of_pair(texts.mask.sum(dim=1).double(), reasoning).sum())
    with FlopCounterMode(display=False) as counter:
        torch.testing.assert_close(slow_similarity(model, images, texts), model.similarity(images, texts))
    assert counter.get_total_flops() / 2 > 2 * needed
