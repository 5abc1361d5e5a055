import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.workload import REGIONS, Products, slow_similarity
from tangka_match.models import SGRAF

SIZES = {"vocab_size": 40, "feature_dim": 8, "embed_dim": 64, "word_dim": 4, "sim_dim": 32}


@pytest.fixture(params=["sgr", "saf"])
def scored(request):
    """Return a model with its encodings of 8 images and of captions of equal length."""
    torch.manual_seed(0)
    model = SGRAF(**SIZES, reasoning=request.param).eval()
    with torch.no_grad():
        images = model.encode_images(torch.rand(8, REGIONS, 8), torch.ones(8, REGIONS, dtype=torch.bool))
        texts = model.encode_texts(torch.randint(40, (64, 6)), torch.ones(64, 6, dtype=torch.bool))
    return request.param, model, images, texts


@torch.no_grad()
def test_most_computed_products_are_necessary(scored):
    """The other products: dot products of the regions of each image, merged weights, and norms of contexts."""
    reasoning, model, images, texts = scored
    needed = 8 * float(Products(embed=64, sim=32).of_pair(texts.mask.sum(dim=1).double(), reasoning).sum())
    with FlopCounterMode(display=False) as counter:
        model.similarity(images, texts)
    assert needed < counter.get_total_flops() / 2 < 1.35 * needed


@torch.no_grad()
def test_loop_over_pairs_computes_more_products(scored):
    reasoning, model, images, texts = scored
    needed = 8 * float(Products(embed=64, sim=32).of_pair(texts.mask.sum(dim=1).double(), reasoning).sum())
    with FlopCounterMode(display=False) as counter:
        torch.testing.assert_close(slow_similarity(model, images, texts), model.similarity(images, texts))
    assert counter.get_total_flops() / 2 > 2 * needed
