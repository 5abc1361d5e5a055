"""Models and inputs of the benchmarks: published sizes of SGRAF and VSE, caption lengths of f8kcn."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.slow_sgraf import Stack, slow_scores
from tangka_match.losses import LossInputs, TripletMarginLoss, positive_mask
from tangka_match.models import CCA, SGRAF, VSE, DualEncoder
from tangka_match.models.layers import average_directions
from tangka_match.ops import at_least_float32, l2_normalise
from tangka_match.retrieval import score_matrix
from tangka_match.types import Encoded

VOCABULARY, REGIONS, FEATURES = 1562, 36, 2048

CAPTIONS_OF_LENGTH = {
    3: 5, 4: 40, 5: 307, 6: 914, 7: 911, 8: 634, 9: 210, 10: 86, 11: 44, 12: 23, 13: 8, 14: 2, 15: 1
}  # fmt: skip
"""Number of captions per length in tokens, including <start> and <end>: the 3,185 captions of 637 f8kcn test images."""

COCO_LENGTHS = {8: 1, 9: 4, 10: 14, 11: 22, 12: 21, 13: 15, 14: 9, 15: 6, 16: 3, 17: 2, 18: 1, 20: 1, 24: 1}
"""Approximate lengths of COCO's English captions, in percent."""


Net = TypeVar("Net", bound=nn.Module)


def sgraf(reasoning: str) -> SGRAF:
    """Build SGRAF of the published size with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return SGRAF(vocab_size=VOCABULARY, feature_dim=FEATURES, reasoning=reasoning).eval()


def without_dropout(model: Net) -> Net:
    """Switch to training mode with dropout 0, so that competing implementations stay comparable."""
    for module in model.train().modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def vse() -> VSE:
    """Build VSE of the default size with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return VSE(vocab_size=VOCABULARY, feature_dim=FEATURES).eval()


def dual_encoder() -> DualEncoder:
    """Build the dual encoder of the default size with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return DualEncoder(vocab_size=VOCABULARY, feature_dim=FEATURES).eval()


def closed_form() -> CCA:
    """Build the model of ``+experiment=best`` with random weights and two characters per word."""
    torch.manual_seed(0)
    model = CCA(vocab_size=VOCABULARY, feature_dim=FEATURES).eval()
    model.bag.characters[4:, :2] = torch.randint(ord("一"), ord("龟"), (VOCABULARY - 4, 2))
    return model


def draw_regions(images: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw non-negative features (images, 36, 2048), as from a detector, with a full mask."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(images, REGIONS, FEATURES, generator=generator), torch.ones(images, REGIONS, dtype=torch.bool)


def draw_captions(captions: int, lengths: dict[int, int] = CAPTIONS_OF_LENGTH, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw random token ids; ``lengths`` gives the relative frequency of each length."""
    generator = torch.Generator().manual_seed(seed)
    shares = torch.tensor(list(lengths.values()), dtype=torch.float)
    drawn = torch.tensor(list(lengths))[shares.multinomial(captions, replacement=True, generator=generator)]
    mask = torch.arange(int(drawn.max())) < drawn[:, None]
    return torch.randint(4, VOCABULARY, mask.shape, generator=generator), mask


@torch.no_grad()
def encode(model: nn.Module, images: int, captions: int) -> tuple[Encoded, Encoded]:
    """Encode random images and captions in shards."""
    parts = [model.encode_images(*draw_regions(len(x), seed=int(x[0]))) for x in torch.arange(images).split(SHARD)]
    ids, mask = draw_captions(captions)
    pieces = zip(ids.split(SHARD), mask.split(SHARD), strict=True)
    return Encoded.concatenate(parts), Encoded.concatenate([model.encode_texts(*piece) for piece in pieces])


def triplet_loss(scores: Tensor) -> Tensor:
    """Compute the mean triplet loss over all negatives of a batch of matching pairs, in float32 at least."""
    items = torch.arange(len(scores), device=scores.device)
    return TripletMarginLoss(hard_negatives=0)(LossInputs(at_least_float32(scores), positive_mask(items, items))).total


def slow_similarity(model: SGRAF, images: Encoded, texts: Encoded) -> Tensor:
    """Score with the published loop, on the outputs of our encoders."""
    weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    stack = Stack(list(range(len(images))), images.tokens)
    words = [tokens[mask] for tokens, mask in zip(texts.tokens, texts.mask, strict=True)]
    return slow_scores(weights, [stack], images.pooled, words, model.training)


def published_texts(model: SGRAF, token_ids: Tensor, token_mask: Tensor) -> Encoded:
    """Encode captions as the published text encoder does, as packed sequences."""
    words = model.txt_enc.embed(token_ids)
    lengths = token_mask.sum(dim=1).cpu()
    packed = pack_padded_sequence(words, lengths, batch_first=True, enforce_sorted=False)
    states = pad_packed_sequence(model.txt_enc.cap_rnn(packed)[0], batch_first=True, total_length=words.shape[1])[0]
    tokens = l2_normalise(average_directions(states))
    return Encoded(model.sim_enc.t_global_w(tokens, token_mask), tokens, token_mask)


class Way(NamedTuple):
    """Implementation of the text encoder and of the scoring."""

    encode_texts: Callable[[SGRAF, Tensor, Tensor], Encoded]
    similarity: Callable[[SGRAF, Encoded, Encoded], Tensor]


PUBLISHED = Way(published_texts, slow_similarity)
OURS = Way(SGRAF.encode_texts, SGRAF.similarity)

SHARD = 100
"""Images and captions per shard of the published evaluation."""


@torch.inference_mode()
def slow_matrix(model: SGRAF, images: Encoded, texts: Encoded) -> Tensor:
    """Score as the published evaluation does, recomputing the self-attention of the images for each shard."""
    rows = []
    for first in range(0, len(images), SHARD):
        shard = images[first : first + SHARD]
        columns = [
            slow_similarity(model, pool_images(model, shard), texts[start : start + SHARD])
            for start in range(0, len(texts), SHARD)
        ]
        rows.append(torch.cat(columns, dim=1))
    return torch.cat(rows)


@torch.inference_mode()
def fast_matrix(model: SGRAF, images: Encoded, texts: Encoded, dtype: torch.dtype = torch.float32) -> Tensor:
    """Score with our implementation: self-attention once per image and caption, then `score_matrix`."""
    parts = [pool_images(model, images[start : start + SHARD]) for start in range(0, len(images), SHARD)]
    captions = Encoded(model.sim_enc.t_global_w(texts.tokens, texts.mask), texts.tokens, texts.mask)
    return score_matrix(model, Encoded.concatenate(parts), captions, dtype=dtype)


def pool_images(model: SGRAF, images: Encoded) -> Encoded:
    """Apply self-attention to the regions of each image."""
    return Encoded(model.sim_enc.v_global_w(images.tokens, images.mask), images.tokens, images.mask)


@dataclass(frozen=True)
class Products:
    """Minimum number of multiply-adds in the matrix products of SGRAF, without repeated work or padding."""

    embed: int = 1024
    sim: int = 256
    steps: int = 3

    def of_pair(self, words: Tensor, reasoning: str) -> Tensor:
        """Count the multiply-adds of one image against captions of the given numbers of words."""
        nodes = words + 1
        local = words * (2 * REGIONS * self.embed + self.embed * self.sim) + self.embed * self.sim
        if reasoning == "saf":
            return local + 2 * nodes * self.sim
        step = 2 * nodes * self.sim**2 + 2 * nodes**2 * self.sim
        return local + (self.steps - 1) * step + 2 * self.sim**2 + 2 * nodes * self.sim
