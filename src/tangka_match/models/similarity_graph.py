"""Similarity graph reasoning, the SGR of SGRAF (equations 6 and 7)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.ops import at_least_float32

FoldedQuery = tuple[Float[Tensor, "S S"], Float[Tensor, " S"]]


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

    def folded_query(self) -> FoldedQuery:
        r"""Weight and bias of one linear layer whose dot products with the nodes stand for query times key.

        :math:`(W_q x + b_q) \cdot (W_k y + b_k) = (W_k^\top W_q x + W_k^\top b_q) \cdot y + c_x`, and the softmax over
        :math:`y` forgets :math:`c_x`, all that the key's bias is in. With ``beta=0`` the bias still takes part, with a
        gradient of zero: optimizers and DDP want one of every parameter.
        """
        query, key = self.graph_query_w, self.graph_key_w
        with torch.autocast(query.weight.device.type, enabled=False):
            return key.weight.T @ query.weight, torch.addmv(key.bias, key.weight.T, query.bias, beta=0)

    def forward(
        self,
        receivers: Float[Tensor, "N P S"],
        nodes: Float[Tensor, "N Q S"],
        folded: FoldedQuery,
    ) -> Float[Tensor, "N P S"]:
        """Update ``receivers`` (some or all of the nodes) by what they receive from ``nodes``.

        ``N`` counts pairs, ``P`` and ``Q`` receivers and nodes of a pair, ``S`` is ``sim_dim``.
        """
        affinity = torch.bmm(functional.linear(receivers, *folded), nodes.mT)
        edges = at_least_float32(affinity).softmax(dim=-1).to(nodes.dtype)
        return functional.relu(self.sim_graph_w(torch.bmm(edges, nodes)), inplace=True)


def reason_over_graph(
    steps: nn.ModuleList,
    folded: Sequence[FoldedQuery],
    nodes: Float[Tensor, "I C Q S"],
) -> Float[Tensor, "I C S"]:
    """Apply ``SimilarityGraphStep`` s one after the other and read out node 0, the global one.

    Nothing else is read after the last step, so only node 0 is updated there.

    Args:
        steps: The steps.
        folded: ``folded_query()`` of each of them, folded once for many calls.
        nodes: Similarity vectors of each pair, all of them real.
    """
    pairs = nodes.flatten(0, 1)
    for step, query in zip(steps[:-1], folded[:-1], strict=True):
        pairs = step(pairs, pairs, query)
    return steps[-1](pairs[:, :1], pairs, folded[-1]).squeeze(1).unflatten(0, nodes.shape[:2])
