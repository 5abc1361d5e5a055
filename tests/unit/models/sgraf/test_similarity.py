import pytest
import torch

from helpers.kernels import Kernels
from helpers.waits import on_meta
from tangka_match.models import SGRAF
from tangka_match.models.sgraf import similarity

LENGTHS = (3, 7, 4, 5, 9, 5, 3, 6)


def model(reasoning, **sizes):
    torch.manual_seed(0)
    small = {"vocab_size": 30, "feature_dim": 6, "num_regions": 4, "embed_dim": 8, "word_dim": 5, "sim_dim": 6}
    return SGRAF(reasoning=reasoning, dropout=0.0, **small | sizes).train()


def batch():
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    ids = torch.randint(4, 30, mask.shape, generator=generator)
    return torch.rand(len(ids), 4, 6, generator=generator), torch.ones(len(ids), 4, dtype=torch.bool), ids, mask


def in_groups(monkeypatch, count):
    """Group captions as on a GPU, into at most ``count`` groups; ``None`` as on a CPU."""
    group = similarity.group_by_length
    monkeypatch.setattr(similarity, "group_by_length", lambda *args, max_groups=None: group(*args, max_groups=count))


def scores_and_gradients(net):
    regions, region_mask, ids, mask = batch()
    net.zero_grad()
    scores = net.similarity(net.encode_images(regions.double(), region_mask), net.encode_texts(ids, mask, LENGTHS))
    (scores * torch.randn(scores.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    return scores, {name: parameter.grad for name, parameter in net.named_parameters()}


@pytest.mark.parametrize("reasoning", ["sgr", "saf", "both"])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_few_groups_have_the_scores_and_gradients_of_equal_lengths(monkeypatch, reasoning, groups):
    expected, expected_gradients = scores_and_gradients(model(reasoning).double())
    with monkeypatch.context() as patch:
        in_groups(patch, groups)
        scores, gradients = scores_and_gradients(model(reasoning).double())
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-7)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-5, atol=1e-7, msg=name)


def kernels_of_scoring(reasoning):
    """Count the kernels of all scores of a batch and of their gradients, at the published size."""
    net = model(reasoning, vocab_size=50, feature_dim=16, num_regions=36, embed_dim=1024, sim_dim=256).to("meta")
    lengths = tuple(range(3, 13)) * 2
    mask = (torch.arange(12) < torch.tensor(lengths)[:, None]).to("meta")
    regions, region_mask = torch.empty(20, 36, 16, device="meta"), torch.ones(20, 36, dtype=torch.bool, device="meta")
    with on_meta():
        images = net.encode_images(regions, region_mask)
        texts = net.encode_texts(torch.zeros_like(mask, dtype=torch.int64), mask, lengths)
        for part in (images, texts):
            for vectors in (part.pooled, part.tokens):
                vectors.detach_().requires_grad_()
        with Kernels() as kernels:
            net.similarity(images, texts).sum().backward()
    return kernels.counts.total()


@pytest.mark.parametrize("reasoning", ["sgr", "saf"])
def test_a_gpu_runs_half_as_many_kernels_as_for_groups_of_equal_lengths(monkeypatch, reasoning):
    ours = kernels_of_scoring(reasoning)
    monkeypatch.setattr(similarity, "GROUPS_ON_GPU", None)
    assert ours <= kernels_of_scoring(reasoning) / 2
