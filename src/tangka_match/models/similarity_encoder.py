"""The half of SGRAF that compares images with captions."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.models.initialisation import xavier_linears_
from tangka_match.models.similarity_attention import SimilarityAttentionFiltration
from tangka_match.models.similarity_graph import SimilarityGraphStep, reason_over_graph
from tangka_match.models.text_self_attention import TextSelfAttention
from tangka_match.models.visual_self_attention import VisualSelfAttention
from tangka_match.ops import at_least_float32, l2_normalise, unpack_words, word_region_attention
from tangka_match.types import Encoded


class SimilarityEncoder(nn.Module):
    """Similarity vectors of every image and caption, their reasoning, and the score (SGRAF, section 3.2 and 3.3).

    The attributes are named as in the published weights.

    Args:
        embed_dim: Dimensions of the joint space.
        num_regions: Most regions an image may have.
        sim_dim: Dimensions of a similarity vector.
        reasoning: ``"sgr"`` (graph reasoning) or ``"saf"`` (attention filtration).
        graph_steps: Steps of graph reasoning; only for ``"sgr"``.
        dropout: Probability to drop a component in the self-attention of both sides.
    """

    def __init__(
        self, *, embed_dim: int, num_regions: int, sim_dim: int, reasoning: str, graph_steps: int, dropout: float | int
    ) -> None:
        super().__init__()
        self.v_global_w = VisualSelfAttention(embed_dim, num_regions, dropout)
        self.t_global_w = TextSelfAttention(embed_dim, dropout)
        self.sim_tranloc_w = nn.Linear(embed_dim, sim_dim)
        self.sim_tranglo_w = nn.Linear(embed_dim, sim_dim)
        self.sim_eval_w = nn.Linear(sim_dim, 1)
        self.reasoning = reasoning
        if reasoning == "sgr":
            self.SGR_module = nn.ModuleList(SimilarityGraphStep(sim_dim) for _ in range(graph_steps))
        else:
            self.SAF_module = SimilarityAttentionFiltration(sim_dim)
        xavier_linears_(self)

    def forward(self, images: Encoded, texts: Encoded) -> Float[Tensor, "I C"]:
        """Score every image against every caption, in (0, 1); both come with pooled vectors and sequences."""
        assert images.pooled is not None and images.tokens is not None and images.mask is not None
        assert texts.pooled is not None and texts.tokens is not None and texts.mask is not None
        overall = self.sim_tranglo_w((images.pooled[:, None, :] - texts.pooled).square())
        local = self._local_similarities(images.tokens, images.mask, texts.tokens, texts.mask)
        nodes = torch.cat([l2_normalise(overall)[:, :, None, :], unpack_words(local, texts.mask)], dim=2)
        mask = functional.pad(texts.mask, (1, 0), value=True)
        vectors = (
            reason_over_graph(self.SGR_module, nodes, mask) if self.reasoning == "sgr" else self.SAF_module(nodes, mask)
        )
        # Scores in half precision would tie where a ranking must tell them apart.
        with torch.autocast(vectors.device.type, enabled=False):
            weight, bias = at_least_float32(self.sim_eval_w.weight), at_least_float32(self.sim_eval_w.bias)
            logits = functional.linear(at_least_float32(vectors), weight, bias)
        return logits.squeeze(2).sigmoid()

    def _local_similarities(
        self,
        regions: Float[Tensor, "I R D"],
        region_mask: Bool[Tensor, "I R"],
        words: Float[Tensor, "C T D"],
        token_mask: Bool[Tensor, "C T"],
    ) -> Float[Tensor, "I W S"]:
        """Similarity vectors between each of the W real words and what it attends to in every image."""
        weights = word_region_attention(words, token_mask, regions, region_mask)
        # (I, W, D) tensors are by far the largest here: only real words get one, and the difference is made in place.
        context = l2_normalise(weights[:, token_mask].to(regions.dtype) @ regions)
        difference = context.sub_(words[token_mask])
        return l2_normalise(self.sim_tranloc_w(difference.square()))
