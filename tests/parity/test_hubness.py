"""Hubness corrections against an independent numpy reference."""

import numpy as np
import pytest
import torch

from helpers import naive_hubness as naive
from tangka_match.retrieval import hubness


@pytest.fixture(params=[(5, 5, 7), (12, 4, 30), (3, 20, 1)])
def matrices(request):
    """Draw scores of queries and of a bank against a gallery whose first items are hubs."""
    queries, gallery, bank = request.param
    random = np.random.default_rng(queries)
    hub_offsets = np.linspace(0.4, 0, gallery)
    return random.random((queries, gallery)) + hub_offsets, random.random((bank, gallery)) + hub_offsets


def order(scores):
    return np.argsort(-np.asarray(scores), axis=1).tolist()


@pytest.mark.parametrize("top_k", [1, 2])
def test_qb_norm(matrices, top_k):
    scores, bank = matrices
    found = hubness.qb_norm(*map(torch.from_numpy, matrices), beta=5.0, top_k=top_k)
    assert order(found) == order(naive.qb_norm(scores, bank, 5.0, top_k))
    assert len(bank) == 1 or order(found) != order(scores)


def test_nnn(matrices):
    scores, bank = matrices
    k = min(4, len(bank))
    found = hubness.nnn(*map(torch.from_numpy, matrices), alpha=0.75, k=k)
    np.testing.assert_allclose(found.numpy(), naive.nnn(scores, bank, 0.75, k), atol=1e-12)


def test_inverted_softmax(matrices):
    found = hubness.inverted_softmax(torch.from_numpy(matrices[0]), beta=5.0).exp()
    np.testing.assert_allclose(found.numpy(), naive.inverted_softmax(matrices[0], 5.0), atol=1e-12)


@pytest.mark.parametrize("iterations", [1, 10])
def test_sinkhorn(matrices, iterations):
    found = hubness.sinkhorn(torch.from_numpy(matrices[0]), beta=5.0, iterations=iterations).exp()
    np.testing.assert_allclose(found.numpy(), naive.sinkhorn(matrices[0], 5.0, iterations), atol=1e-7)


@pytest.mark.parametrize("candidates", [1, 3, 50])
def test_k_reciprocal(matrices, candidates):
    found = hubness.k_reciprocal(torch.from_numpy(matrices[0]), candidates)
    assert order(found) == naive.k_reciprocal(matrices[0], candidates)
