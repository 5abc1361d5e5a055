"""Corrections for hubs, items that answer too many queries, and re-ranking; every one a change of the scores alone.

All functions take ``scores`` (Q, G): rows queries, columns the gallery, higher = closer. For text queries that is the
transposed similarity. A ``bank`` (B, G) holds the scores of other queries against the same gallery. What comes back
ranks the gallery for each query; scores of different queries need not be comparable. Where all scores are equal they
stay equal, so that no correction lifts a collapsed model above chance.

Only `qb_norm` and `nnn` treat each test query on its own. The others look at all test queries at once: they are
*transductive*, and their figures do not compare with those of a search engine that answers one query.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.errors import ConfigError


def qb_norm(
    scores: Float[Tensor, "Q G"], bank: Float[Tensor, "B G"], beta: float, top_k: int = 1
) -> Float[Tensor, "Q G"]:
    """Query-bank normalisation with the dynamic inverted softmax.

    Bogolin, Croitoru, Jin, Liu, Albanie: "Cross Modal Retrieval with Querybank Normalisation", CVPR 2022, arXiv
    2112.12777, section 3. A score becomes ``exp(beta s(q, g)) / sum_b exp(beta s(b, g))``, but only for queries
    whose best answer is among the ``top_k`` best of some bank query; the others keep their raw scores.

    Args:
        scores: (Q, G).
        bank: (B, G), of training queries.
        beta: Inverse temperature; 20 in the paper, for cosines.
        top_k: Best answers of a bank query that count as possible hubs.

    Returns:
        Scores, comparable within a row only.

    Example:
        Answer 0 is a hub: it is best for the bank, too. The query then prefers answer 1.

        >>> qb_norm(torch.tensor([[0.6, 0.5]]), torch.tensor([[0.9, 0.1]]), beta=20.0).argmax().item()
        1
    """
    corrected = _inverted(scores, bank, beta)
    active = torch.zeros(scores.shape[1], dtype=torch.bool, device=scores.device)
    active[bank.topk(min(top_k, bank.shape[1]), dim=1).indices.flatten()] = True
    return torch.where(active[scores.argmax(dim=1)][:, None], corrected, scores)


def nnn(scores: Float[Tensor, "Q G"], bank: Float[Tensor, "B G"], alpha: float, k: int) -> Float[Tensor, "Q G"]:
    """Nearest-neighbour normalisation.

    Chowdhury, Wang, Shenoy, Kiela, Schwettmann, Thrush: "Nearest Neighbor Normalization Improves Multimodal Retrieval",
    EMNLP 2024, arXiv 2410.24114. A gallery item loses ``alpha`` times the mean of its ``k`` highest scores with the
    bank.

    Args:
        scores: (Q, G).
        bank: (B, G), of training queries.
        alpha: Weight of the correction; the paper searches 0.25 to 1.5.
        k: Bank queries an item; 1 to B.

    Raises:
        ConfigError: If the bank holds fewer than ``k`` queries.

    Example:
        >>> nnn(torch.tensor([[0.6, 0.5]]), torch.tensor([[0.9, 0.1], [0.7, 0.3]]), alpha=0.5, k=2)
        tensor([[0.2000, 0.4000]])
    """
    if k > len(bank):
        raise ConfigError(f"correction.nnn_k={k}, but the bank holds {len(bank)} queries: give at most as many")
    return scores - alpha * bank.topk(k, dim=0).values.mean(dim=0)


def inverted_softmax(scores: Float[Tensor, "Q G"], beta: float) -> Float[Tensor, "Q G"]:
    """Softmax over the queries instead of the gallery; transductive.

    Smith, Turban, Hamblin, Hammerla: "Offline bilingual word vectors, orthogonal transformations and the inverted
    softmax", ICLR 2017, arXiv 1702.03859: ``exp(beta s(q, g)) / sum_q' exp(beta s(q', g))``, here as its
    logarithm.

    Args:
        scores: (Q, G), of all test queries.
        beta: Inverse temperature.

    Example:
        >>> inverted_softmax(torch.tensor([[0.9, 0.8], [0.9, 0.1]]), beta=20.0).argmax(dim=1).tolist()
        [1, 0]
    """
    return _inverted(scores, scores, beta)


def sinkhorn(scores: Float[Tensor, "Q G"], beta: float, iterations: int) -> Float[Tensor, "Q G"]:
    """Scale ``exp(beta s)`` until all rows, and all columns, have the same sum; transductive.

    Cuturi: "Sinkhorn Distances", NeurIPS 2013, arXiv 1306.0895, algorithm 1 with uniform marginals, in logarithms. It
    assumes that every answer is wanted equally often. The result is the same for both directions.

    Args:
        scores: (Q, G), of all test queries.
        beta: Inverse temperature.
        iterations: Rows and columns are scaled so often, at least once.

    Returns:
        Logarithms of the plan, columns of sum 1/G.

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
    """Re-rank the first answers of a query by how well each of them, asking back, finds the query; transductive.

    The cross-modal re-ranking of Wang, Xu, Wang, Ji, Li, Zhang, Shen: "Matching Images and Text with Multi-modal Tensor
    Fusion and Re-ranking", ACM MM 2019, arXiv 1908.04011, after the k-reciprocal neighbours of Zhong et
    al. 2017, arXiv 1701.08398. A candidate's new place is that of the query among all test queries, ranked by the
    candidate; equal places keep the old order. Answers beyond the candidates stay where they were.

    Args:
        scores: (Q, G), of all test queries.
        candidates: First answers that are re-ranked, at least 1.

    Returns:
        Minus the new place, from 1.

    Example:
        Answer 0 is best for query 0, but prefers query 1; answer 1 prefers query 0.

        >>> k_reciprocal(torch.tensor([[0.8, 0.7], [0.9, 0.1]]), candidates=2)
        tensor([[-2., -1.],
                [-1., -2.]])
    """
    order = _ordered(scores)
    backwards = _places(_ordered(scores.T)).T
    head = order[:, :candidates]
    again = backwards.gather(1, head).argsort(dim=1, stable=True)
    order = torch.cat([head.gather(1, again), order[:, candidates:]], dim=1)
    return -1.0 - _places(order)


def _ordered(scores: Tensor) -> Tensor:
    """Indices of every row's scores from the best on; equal ones as ``metrics.retrieval_ranks`` ranks them."""
    return scores.shape[1] - 1 - scores.flip(1).argsort(dim=1, descending=True, stable=True)


def _places(order: Tensor) -> Tensor:
    """The place of every item in each row's order."""
    steps = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, steps)


def _inverted(scores: Float[Tensor, "Q G"], queries: Float[Tensor, "B G"], beta: float) -> Float[Tensor, "Q G"]:
    """Log of ``exp(beta s) / sum exp(beta s)``, the sum over these queries; in float64, for differences of 1e-7."""
    wide = beta * scores.double()
    return wide - (beta * queries.double()).logsumexp(dim=0)
