"""Hubness corrections and re-ranking, applied to scores only.

Hubs are gallery items that rank high for too many queries. All functions take ``scores`` (Q, G): rows queries, columns
the gallery, higher = closer; for caption queries this is the transposed similarity. A ``bank`` (B, G) holds the scores
of other queries against the same gallery. The results rank the gallery of each query; scores of different queries need
not be comparable. Equal scores stay equal, so that no correction lifts a collapsed model above chance.

Only `qb_norm` and `nnn` treat each test query independently. The others are *transductive*: they use all test queries
at once, so their results are not comparable with a search engine that answers one query at a time.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.metrics.ranks import rank_order


def qb_norm(
    scores: Float[Tensor, "Q G"], bank: Float[Tensor, "B G"], beta: float, top_k: int = 1
) -> Float[Tensor, "Q G"]:
    """Apply query-bank normalisation (QB-Norm) with the dynamic inverted softmax.

    Bogolin, Croitoru, Jin, Liu, Albanie: "Cross Modal Retrieval with Querybank Normalisation", CVPR 2022, arXiv
    2112.12777, section 3. A score becomes ``exp(beta s(q, g)) / sum_b exp(beta s(b, g))``, but only for queries
    whose best answer is among the ``top_k`` best of some bank query; the others keep their raw scores.

    Args:
        scores: Scores of the test queries, (Q, G).
        bank: Scores of training queries, (B, G).
        beta: Inverse temperature; 20 in the paper, for cosines.
        top_k: Best answers of each bank query that count as possible hubs; more than G count as G.

    Returns:
        Corrected scores, comparable within a row only.

    Example:
        Answer 0 is a hub, because it is also best for the bank. The query then prefers answer 1.

        >>> qb_norm(torch.tensor([[0.6, 0.5]]), torch.tensor([[0.9, 0.1]]), beta=20.0).argmax().item()
        1
    """
    corrected = _inverted(scores, bank, beta)
    active = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
    active[bank.topk(min(top_k, bank.shape[1]), dim=1).indices.flatten()] = True
    return torch.where(active[scores.argmax(dim=1)][:, None], corrected, scores)


def nnn(scores: Float[Tensor, "Q G"], bank: Float[Tensor, "B G"], alpha: float, k: int) -> Float[Tensor, "Q G"]:
    """Apply nearest-neighbour normalisation (NNN).

    Chowdhury, Wang, Shenoy, Kiela, Schwettmann, Thrush: "Nearest Neighbor Normalization Improves Multimodal Retrieval",
    EMNLP 2024, arXiv 2410.24114. Subtracts from the scores of each gallery item ``alpha`` times the mean of its ``k``
    highest scores with the bank.

    Args:
        scores: Scores of the test queries, (Q, G).
        bank: Scores of training queries, (B, G).
        alpha: Weight of the correction; the paper searches 0.25 to 1.5.
        k: Bank queries averaged per gallery item, >= 1; more than B count as B.

    Example:
        >>> nnn(torch.tensor([[0.6, 0.5]]), torch.tensor([[0.9, 0.1], [0.7, 0.3]]), alpha=0.5, k=2)
        tensor([[0.2000, 0.4000]])
    """
    return scores - alpha * bank.topk(min(k, len(bank)), dim=0).values.mean(dim=0)


def inverted_softmax(scores: Float[Tensor, "Q G"], beta: float) -> Float[Tensor, "Q G"]:
    """Normalise by a softmax over the queries instead of the gallery; transductive.

    Smith, Turban, Hamblin, Hammerla: "Offline bilingual word vectors, orthogonal transformations and the inverted
    softmax", ICLR 2017, arXiv 1702.03859: ``exp(beta s(q, g)) / sum_q' exp(beta s(q', g))``.

    Args:
        scores: Scores of all test queries, (Q, G).
        beta: Inverse temperature.

    Returns:
        Logarithms of the normalised scores, (Q, G).

    Example:
        >>> inverted_softmax(torch.tensor([[0.9, 0.8], [0.9, 0.1]]), beta=20.0).argmax(dim=1).tolist()
        [1, 0]
    """
    return _inverted(scores, scores, beta)


def sinkhorn(scores: Float[Tensor, "Q G"], beta: float, iterations: int) -> Float[Tensor, "Q G"]:
    """Scale ``exp(beta s)`` until all rows have the same sum and all columns have the same sum; transductive.

    Cuturi: "Sinkhorn Distances", NeurIPS 2013, arXiv 1306.0895, algorithm 1 with uniform marginals, in log space. It
    assumes that every gallery item is the answer equally often. Both directions converge to one plan; after a finite
    number of iterations they differ, because the columns are scaled last.

    Args:
        scores: Scores of all test queries, (Q, G).
        beta: Inverse temperature.
        iterations: Number of row and column scalings, >= 1.

    Returns:
        Logarithms of the transport plan, (Q, G); each column sums to 1/G.

    Example:
        >>> plan = sinkhorn(torch.tensor([[0.9, 0.8], [0.9, 0.1]]), beta=5.0, iterations=50).exp()
        >>> torch.allclose(plan.sum(0), plan.sum(1), atol=1e-4), plan.argmax(dim=1).tolist()
        (True, [1, 0])
    """
    plan = beta * scores.double()
    queries, gallery = plan.shape
    for _ in range(iterations):
        plan = plan - plan.logsumexp(dim=1, keepdim=True) - torch.tensor(float(queries)).log()
        plan = plan - plan.logsumexp(dim=0, keepdim=True) - torch.tensor(float(gallery)).log()
    return plan


def k_reciprocal(scores: Float[Tensor, "Q G"], candidates: int) -> Float[Tensor, "Q G"]:
    """Re-rank the best answers of each query by how high each of them ranks the query in turn; transductive.

    Cross-modal re-ranking of Wang, Xu, Wang, Ji, Li, Zhang, Shen: "Matching Images and Text with Multi-modal Tensor
    Fusion and Re-ranking", ACM MM 2019, arXiv 1908.04011, after the k-reciprocal nearest neighbours of Zhong et al.
    2017, arXiv 1701.08398. Candidates are sorted by the rank of the query among all test queries, from the candidate's
    side; equal ranks keep the old order. Answers beyond the candidates keep their ranks.

    Args:
        scores: Scores of all test queries, (Q, G).
        candidates: Best answers of each query that are re-ranked, >= 1; more than G count as G.

    Returns:
        Negative of the new rank, from 1, (Q, G).

    Example:
        Answer 0 is best for query 0, but prefers query 1; answer 1 prefers query 0.

        >>> k_reciprocal(torch.tensor([[0.8, 0.7], [0.9, 0.1]]), candidates=2)
        tensor([[-2., -1.],
                [-1., -2.]])
    """
    order = rank_order(scores)
    query_places = _places(rank_order(scores.T)).T
    head = order[:, :candidates]
    reranked = query_places.gather(1, head).argsort(dim=1, stable=True)
    order = torch.cat([head.gather(1, reranked), order[:, candidates:]], dim=1)
    return -1.0 - _places(order)


def _places(order: Tensor) -> Tensor:
    """Invert each row's order: the place of every item, from 0."""
    steps = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, steps)


def _inverted(scores: Float[Tensor, "Q G"], queries: Float[Tensor, "B G"], beta: float) -> Float[Tensor, "Q G"]:
    """Compute the log of ``exp(beta s) / sum exp(beta s)``, summed over ``queries``.

    In float64: differences of 1e-7 between scores decide ranks.
    """
    wide = beta * scores.double()
    return wide - (beta * queries.double()).logsumexp(dim=0)
