"""Random contexts of a batch, for losses that read embeddings or captions."""

import torch

from tangka_match.losses import LossContext, MomentumKeys, apply_schedules
from tangka_match.types import Encoded


def random_context(size: int, dim: int = 4, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> LossContext:
    """Return unnormalised pooled embeddings and captions of up to five of twelve words, without keys."""
    generator = torch.Generator().manual_seed(seed)
    images, texts = torch.randn(2, size, dim, generator=generator, dtype=dtype)
    ids = torch.randint(4, 12, (size, 5), generator=generator)
    lengths = torch.randint(1, 6, (size, 1), generator=generator)
    return LossContext(Encoded(pooled=images), Encoded(pooled=texts), ids, torch.arange(5) < lengths)


def with_keys(context: LossContext, image_index: list[int], text_group: list[int], *, seed: int = 1) -> LossContext:
    """Return the same batch with random embeddings as keys, and the given image and text indices."""
    keys = random_context(len(image_index), context.images.pooled.shape[1], seed=seed)
    where = torch.tensor(image_index), torch.tensor(text_group)
    return context._replace(keys=MomentumKeys(keys.images, keys.texts, *where))


def without_pooled(context: LossContext) -> LossContext:
    """Return the same batch as from a matcher that compares regions with words only."""
    sequences = Encoded(
        tokens=torch.zeros(len(context.images), 2, 3), mask=torch.ones(len(context.images), 2, dtype=torch.bool)
    )
    return context._replace(images=sequences, texts=sequences)


def at_progress(loss: torch.nn.Module, progress: float) -> torch.nn.Module:
    """Set the scheduled settings of the loss to their values at a progress, and return the loss."""
    apply_schedules(loss, progress)
    return loss
