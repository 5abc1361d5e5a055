"""InfoNCE whose negatives outlive their batch: a queue of what a momentum copy of the model encoded."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.losses.base import LogitScale, LossTerms, check_pairs, check_range, temperature_of
from tangka_match.losses.context import ContextualLoss, MomentumKeys, PairContext, pooled_vectors
from tangka_match.losses.info_nce import candidates, pair_cross_entropy
from tangka_match.ops import dot_products


def momentum_queue_loss(
    queries: Float[Tensor, "B D"],
    keys: Float[Tensor, "B D"],
    queue: Float[Tensor, "Q D"],
    *,
    positives: Bool[Tensor, "B B"],
    queue_negatives: Bool[Tensor, "B Q"],
    logit_scale: Float[Tensor, ""] | float | int,
) -> Float[Tensor, ""]:
    r"""Cross entropy of a query's own key among the keys of its batch and those of batches before.

    .. math:: L = -\frac{1}{B} \sum_b \log \frac{e^{a\, q_b k_b}}{e^{a\, q_b k_b} + \sum_{k \in N_b} e^{a\, q_b k}}

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (MoCo), arXiv:1911.05722,
    eq. 1. Between images and captions, in both directions: Li et al., "Align before Fuse" (ALBEF), arXiv:2107.07651,
    eq. 1.

    Args:
        queries: L2-normalised vectors of one kind, with gradients.
        keys: L2-normalised vectors of the other kind, from the momentum copy; row b belongs to row b of the queries.
        queue: L2-normalised keys of batches before.
        positives: (B, B), ``True`` where query and key belong together; ``True`` on the diagonal.
        queue_negatives: (B, Q), ``True`` where a queued key is a negative of the query.
        logit_scale: Factor ``a`` on the cosines, ``1 / temperature``, > 0.

    Returns:
        The loss in nats, a scalar >= 0.

    Example:
        One pair, and two queued keys of which one is its negative.

        >>> one = torch.ones(1, 1)
        >>> negative = torch.tensor([[True, False]])
        >>> queue = torch.ones(2, 1)
        >>> momentum_queue_loss(one, one, queue, positives=one > 0, queue_negatives=negative, logit_scale=5.0)  # log(2)
        tensor(0.6931)
    """
    logits = logit_scale * dot_products(queries, torch.cat([keys, queue]))
    return pair_cross_entropy(logits, torch.cat([candidates(positives), queue_negatives], dim=1))


class MomentumQueueLoss(ContextualLoss):
    """InfoNCE over pooled vectors with a first-in-first-out queue of negatives; see `momentum_queue_loss`.

    Training keeps a momentum copy of the matcher for it (``training.momentum_encoder``); in validation, where there is
    none, the vectors themselves are the keys, and all that is queued counts as negative. The queue is part of a
    checkpoint. Scores that come from regions and words get nothing from this loss: take it beside one on the scores
    (``loss=blend``).

    Args:
        embed_dim: Dimensions of the model's pooled vectors.
        queue_size: Pairs in the queue, >= 1.
        key_momentum: Share of its weights that the copy keeps in a step, in [0, 0.999999]; 0.999 in MoCo, 0.995 in
            ALBEF, for runs of 10^5 steps: the copy lags ``1 / (1 - key_momentum)`` steps behind.
        temperature: Cosines are divided by it; where it is learnt, its value at the start.
        learn_temperature: Learn the temperature with the model.
        min_temperature: The lowest temperature allowed, > 0.

    Raises:
        ConfigError: If a setting is out of range, or, when called, if the model has no pooled vectors, or of other
            dimensions.
    """

    needs_pooled = True
    reads_scores = False
    image_queue: Tensor
    text_queue: Tensor
    image_index: Tensor
    text_group: Tensor
    position: Tensor

    def __init__(
        self,
        *,
        embed_dim: int,
        queue_size: int = 1024,
        key_momentum: float | int = 0.99,
        temperature: float | int = 0.07,
        learn_temperature: bool = True,
        min_temperature: float | int = 0.01,
    ) -> None:
        super().__init__()
        check_range("embed_dim", embed_dim, 1.0, float("inf"), "as many as the model's pooled vectors have")
        check_range("queue_size", queue_size, 1.0, 10_000_000.0, "pairs whose vectors are kept")
        check_range("key_momentum", key_momentum, 0.0, 0.999999, "at 1 the momentum copy would never learn")
        self.key_momentum = float(key_momentum)
        self.logit_scale = LogitScale(temperature, min_temperature).requires_grad_(learn_temperature)
        self.register_buffer("image_queue", torch.zeros(queue_size, embed_dim))
        self.register_buffer("text_queue", torch.zeros(queue_size, embed_dim))
        self.register_buffer("image_index", torch.full((queue_size,), -1))  # -1 = nothing there yet
        self.register_buffer("text_group", torch.full((queue_size,), -1))
        self.register_buffer("position", torch.tensor(0))
        self._queue_counts: Tensor | None = None

    def forward(
        self,
        similarity: Float[Tensor, "B B"],
        positives: Bool[Tensor, "B B"],
        progress: float | int = 1.0,
        *,
        context: PairContext,
    ) -> LossTerms:
        """Measure the batch, then queue its keys, if there are any (B = pairs of the batch)."""
        check_pairs(similarity, positives)
        images, texts = pooled_vectors("MomentumQueueLoss", context.images, context.texts)
        if images.shape[1] != self.image_queue.shape[1]:
            raise ConfigError(
                f"loss MomentumQueueLoss: embed_dim is {self.image_queue.shape[1]}, but this model's pooled vectors "
                f"have {images.shape[1]} dimensions; set it to {images.shape[1]}"
            )
        keys = context.keys
        image_keys, text_keys = (
            (images.detach(), texts.detach())
            if keys is None
            else pooled_vectors("MomentumQueueLoss", keys.images, keys.texts)
        )
        negatives = self._negatives(len(images), keys)
        self._queue_counts = negatives.sum(dim=1)
        scale = self.logit_scale()
        i2t = momentum_queue_loss(
            images, text_keys, self.text_queue, positives=positives, queue_negatives=negatives, logit_scale=scale
        )
        t2i = momentum_queue_loss(
            texts, image_keys, self.image_queue, positives=positives.T, queue_negatives=negatives, logit_scale=scale
        )
        if keys is not None:
            self._enqueue(image_keys, text_keys, keys.image_index, keys.text_group)
        loss = (i2t + t2i) / 2
        return LossTerms(loss, {"momentum_queue": loss.detach()}, {"temperature": temperature_of(scale)})

    def collapse_value(self, positives: Bool[Tensor, "B B"], progress: float | int = 1.0) -> float:
        """Loss when all vectors are equal: mean logarithm of the number of candidates of the batch measured last."""
        allowed = candidates(positives)
        queued = 0 if self._queue_counts is None else self._queue_counts
        counts = torch.cat([allowed.sum(dim=1) + queued, allowed.sum(dim=0) + queued])
        return counts.double().log().mean().item()

    def _negatives(self, count: int, keys: MomentumKeys | None) -> Bool[Tensor, "B Q"]:
        """Mark what is queued and shares neither image nor text with a row; in validation all that is queued."""
        filled = (self.image_index >= 0).expand(count, -1)
        if keys is None:
            return filled
        same_image = keys.image_index[:, None] == self.image_index
        same_text = keys.text_group[:, None] == self.text_group
        return filled & ~same_image & ~same_text

    @torch.no_grad()
    def _enqueue(
        self,
        images: Float[Tensor, "B D"],
        texts: Float[Tensor, "B D"],
        image_index: Int[Tensor, " B"],
        text_group: Int[Tensor, " B"],
    ) -> None:
        """Write the newest pairs over the oldest."""
        size = len(self.image_index)
        kept = min(len(images), size)
        places = (self.position + torch.arange(kept, device=self.position.device)) % size
        queues = (self.image_queue, self.text_queue, self.image_index, self.text_group)
        for queue, rows in zip(queues, (images, texts, image_index, text_group), strict=True):
            queue[places] = rows[-kept:].to(queue.dtype)
        self.position.copy_((self.position + kept) % size)
