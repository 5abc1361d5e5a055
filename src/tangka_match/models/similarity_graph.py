"""Similarity graph reasoning, the SGR of SGRAF (equations 6 and 7)."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.ops import masked_softmax


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

    def forward(
        self, receivers: Float[Tensor, "I C P S"], nodes: Float[Tensor, "I C Q S"], mask: Bool[Tensor, "C Q"]
    ) -> Float[Tensor, "I C P S"]:
        """Update ``receivers`` (some or all of the nodes) by what they receive from the real ``nodes``.

        ``P`` and ``Q`` count receivers and nodes of a pair, ``S`` is ``sim_dim``.
        """
        affinity = self.graph_query_w(receivers) @ self.graph_key_w(nodes).mT
        edges = masked_softmax(affinity, mask[:, None, :])
        return self.sim_graph_w(edges.to(nodes.dtype) @ nodes).relu()


def reason_over_graph(
    steps: nn.ModuleList, nodes: Float[Tensor, "I C Q S"], mask: Bool[Tensor, "C Q"]
) -> Float[Tensor, "I C S"]:
    """Apply ``SimilarityGraphStep`` s one after the other and read out node 0, the global one.

    Nothing else is read after the last step, so only node 0 is updated there.
    """
    for step in steps[:-1]:
        nodes = step(nodes, nodes, mask)
    return steps[-1](nodes[:, :, :1], nodes, mask).squeeze(2)
