"""InfoNCE with a queue of negatives from earlier batches, encoded by a momentum encoder (MoCo)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tangka_match.errors import ConfigError
from tangka_match.losses.base import ContextualLoss, LossInputs, LossTerms, MomentumKeys
from tangka_match.losses.components import (
    LogitScale,
    check_pairs,
    check_range,
    pooled_embeddings,
    required_context,
    temperature_of,
)
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
    r"""Compute the cross entropy of each query's own key among the keys of the batch and of the queue.

    .. math:: L = -\frac{1}{B} \sum_b \log \frac{e^{a\, q_b k_b}}{e^{a\, q_b k_b} + \sum_{k \in N_b} e^{a\, q_b k}}

    with the scale :math:`a = 1 / \text{temperature}` and the negatives :math:`N_b` of query b in batch and queue.

    Source: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning" (MoCo), arXiv:1911.05722,
    eq. 1; between images and captions: Li et al., "Align before Fuse" (ALBEF), arXiv:2107.07651, eq. 1.

    Args:
        queries: L2-normalised embeddings of one modality, with gradients.
        keys: L2-normalised momentum embeddings of the other modality; row b matches query b.
        queue: L2-normalised keys of earlier batches.
        positives: (B, B), ``True`` where query and key belong together; ``True`` on the diagonal.
        queue_negatives: (B, Q), ``True`` where a queued key is a negative of the query.
        logit_scale: Multiplier of the cosines, ``1 / temperature``, > 0.

    Returns:
        The loss in nats, a scalar >= 0.

    Example:
        One pair and two queued keys, one of which is a negative.

        >>> one = torch.ones(1, 1)
        >>> negative = torch.tensor([[True, False]])
        >>> queue = torch.ones(2, 1)
        >>> momentum_queue_loss(one, one, queue, positives=one > 0, queue_negatives=negative, logit_scale=5.0)  # log(2)
        tensor(0.6931)
    """
    logits = logit_scale * dot_products(queries, torch.cat([keys, queue]))
    return pair_cross_entropy(logits, torch.cat([candidates(positives), queue_negatives], dim=1))


class MomentumQueueLoss(ContextualLoss):
    """InfoNCE over pooled embeddings with a first-in-first-out queue of negatives; see `momentum_queue_loss`.

    In training the keys come from ``training.loss_hooks.MomentumEncoder``. In validation there are no keys: the
    embeddings themselves take their place, and all queued keys count as negatives. The queue is saved in checkpoints.

    Requirements:
        A matcher with pooled embeddings of ``embed_dim`` dimensions.

    Recommendations:
        Use it next to a loss on scores (``loss=blend``): parameters that only scores depend on, such as word-region
        attention, get no gradient from it. MoCo (``key_momentum=0.999``) and ALBEF (0.995) train for about 10^5 steps;
        the encoder lags about ``1 / (1 - key_momentum)`` steps behind, so shorter runs need a lower value.

    Args:
        embed_dim: Dimension of the model's pooled embeddings.
        queue_size: Size of the queue in pairs, >= 1.
        key_momentum: Momentum of the encoder of the keys, in [0, 0.999999].
        temperature: Divisor of the cosines; the start value if it is learnt.
        learn_temperature: Whether to learn the temperature.
        min_temperature: Lowest temperature, > 0.

    Raises:
        ConfigError: If a setting is out of range, or, when called, if the model has no pooled embeddings or they have
            another dimension.
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
        check_range("embed_dim", embed_dim, 1.0, float("inf"), "it is the dimension of the model's pooled embeddings")
        check_range("queue_size", queue_size, 1.0, 10_000_000.0, "it is a number of pairs")
        check_range("key_momentum", key_momentum, 0.0, 0.999999, "at 1 the momentum encoder would never change")
        self.key_momentum = float(key_momentum)
        self.logit_scale = LogitScale(temperature, min_temperature).requires_grad_(learn_temperature)
        self.register_buffer("image_queue", torch.zeros(queue_size, embed_dim))
        self.register_buffer("text_queue", torch.zeros(queue_size, embed_dim))
        self.register_buffer("image_index", torch.full((queue_size,), -1))  # -1 = empty
        self.register_buffer("text_group", torch.full((queue_size,), -1))
        self.register_buffer("position", torch.tensor(0))
        self._queue_counts: Tensor | None = None

    def forward(self, inputs: LossInputs) -> LossTerms:
        """Compute the loss of a batch, then enqueue its keys, if it has any."""
        check_pairs(inputs.similarity, inputs.positives)
        context = required_context(self, inputs)
        images, texts = pooled_embeddings(self, context.images, context.texts)
        if images.shape[1] != self.image_queue.shape[1]:
            raise ConfigError(
                f"loss MomentumQueueLoss: embed_dim is {self.image_queue.shape[1]}, but this model's pooled embeddings "
                f"have {images.shape[1]} dimensions; set it to {images.shape[1]}"
            )
        keys = context.keys
        image_keys, text_keys = (
            (images.detach(), texts.detach()) if keys is None else pooled_embeddings(self, keys.images, keys.texts)
        )
        negatives = self._negatives(len(images), keys)
        self._queue_counts = negatives.sum(dim=1)
        scale, positives = self.logit_scale(), inputs.positives
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

    def collapse_value(self, inputs: LossInputs) -> float:
        """Compute the mean logarithm of the number of candidates in the last batch, its queued negatives included."""
        allowed = candidates(inputs.positives)
        queued = 0 if self._queue_counts is None else self._queue_counts
        counts = torch.cat([allowed.sum(dim=1) + queued, allowed.sum(dim=0) + queued])
        return counts.cpu().double().log().mean().item()  # Apple's GPUs have no float64

    def _negatives(self, count: int, keys: MomentumKeys | None) -> Bool[Tensor, "B Q"]:
        """Mark queued pairs that share neither image nor text with a row; without keys, all queued pairs."""
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
        """Overwrite the oldest pairs with the newest."""
        size = len(self.image_index)
        kept = min(len(images), size)
        places = (self.position + torch.arange(kept, device=self.position.device)) % size
        queues = (self.image_queue, self.text_queue, self.image_index, self.text_group)
        for queue, rows in zip(queues, (images, texts, image_index, text_group), strict=True):
            queue[places] = rows[-kept:].to(queue.dtype)
        self.position.copy_((self.position + kept) % size)
