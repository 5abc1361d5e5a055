"""Similarity graph reasoning, the SGR of SGRAF (equations 6 and 7)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.ops import at_least_float32


class GraphWeights(NamedTuple):
    """The weights of a step, ready for many calls: query and key folded into one layer, in the dtype of the nodes."""

    query: Float[Tensor, "S S"]
    query_bias: Float[Tensor, " S"]
    out: Float[Tensor, "S S"]
    out_bias: Float[Tensor, " S"]


class SimilarityGraphStep(nn.Module):
    r"""One step of message passing between the similarity vectors of an image and a caption.

    Node :math:`p` becomes :math:`\mathrm{ReLU}(W_g \sum_q \mathrm{softmax}_q(W_q s_p \cdot W_k s_q)\, s_q)`; the dot
    product is not scaled. The attributes are named as in the published weights.

    Args:
        sim_dim: Dimensions of a similarity vector.
    """

    def __init__(self, sim_dim: int) -> None:
        super().__init__()
        self.graph_query_w = nn.Linear(sim_dim, sim_dim)
        self.graph_key_w = nn.Linear(sim_dim, sim_dim)
        self.sim_graph_w = nn.Linear(sim_dim, sim_dim)
        xavier_linears_(self)

    def prepare(self, dtype: torch.dtype) -> GraphWeights:
        r"""Fold query and key into one linear layer whose dot products with the nodes stand for query times key.

        :math:`(W_q x + b_q) \cdot (W_k y + b_k) = (W_k^\top W_q x + W_k^\top b_q) \cdot y + c_x`, and the softmax over
        :math:`y` forgets :math:`c_x`, all that the key's bias is in. With ``beta=0`` the bias still takes part, with a
        gradient of zero: optimizers and DDP want one of every parameter.

        Args:
            dtype: Of the nodes.
        """
        query, key, out = self.graph_query_w, self.graph_key_w, self.sim_graph_w
        with torch.autocast(query.weight.device.type, enabled=False):
            folded = key.weight.T @ query.weight
            folded_bias = torch.addmv(key.bias, key.weight.T, query.bias, beta=0)
        return GraphWeights(*(x.to(dtype) for x in (folded, folded_bias, out.weight, out.bias)))


def reason_over_graph(steps: Sequence[GraphWeights], nodes: Float[Tensor, "I C Q S"]) -> Float[Tensor, "I C S"]:
    """Apply ``SimilarityGraphStep`` s one after the other and read out node 0, the global one.

    Nothing else is read after the last step, so only node 0 is updated there.

    Args:
        steps: What ``SimilarityGraphStep.prepare`` gave for each step.
        nodes: Similarity vectors of each pair, all of them real.
    """
    pairs = nodes.flatten(0, 1)
    for step in steps[:-1]:
        pairs = _receive(step, pairs, pairs)
    # Contiguous, because in half precision a product over a strided batch is one of its own for each pair.
    overall = pairs[:, :1].contiguous()
    return _receive(steps[-1], overall, pairs).squeeze(1).unflatten(0, nodes.shape[:2])


def _receive(
    step: GraphWeights, receivers: Float[Tensor, "N P S"], nodes: Float[Tensor, "N Q S"]
) -> Float[Tensor, "N P S"]:
    """Update ``receivers`` (some or all of a pair's nodes) by what they receive from ``nodes``."""
    affinity = functional.linear(receivers, step.query, step.query_bias) @ nodes.mT
    edges = at_least_float32(affinity).softmax(dim=-1).to(nodes.dtype)
    return functional.relu(functional.linear(edges @ nodes, step.out, step.out_bias), inplace=True)
