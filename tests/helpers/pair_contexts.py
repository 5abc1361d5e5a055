"""Random batches of pairs behind a similarity matrix, for losses that read more than scores."""

import torch

from tangka_match.losses import MomentumKeys, PairContext
from tangka_match.types import Encoded


def random_context(size: int, dim: int = 4, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> PairContext:
    """Pooled vectors of any length, and captions of up to five words of a vocabulary of twelve; no keys."""
    generator = torch.Generator().manual_seed(seed)
    images, texts = torch.randn(2, size, dim, generator=generator, dtype=dtype)
    ids = torch.randint(4, 12, (size, 5), generator=generator)
    lengths = torch.randint(1, 6, (size, 1), generator=generator)
    return PairContext(Encoded(pooled=images), Encoded(pooled=texts), ids, torch.arange(5) < lengths)


def with_keys(context: PairContext, image_index: list[int], text_group: list[int], *, seed: int = 1) -> PairContext:
    """The same batch with other vectors as its keys, from these images and texts."""
    keys = random_context(len(image_index), context.images.pooled.shape[1], seed=seed)
    where = torch.tensor(image_index), torch.tensor(text_group)
    return context._replace(keys=MomentumKeys(keys.images, keys.texts, *where))


def without_vectors(context: PairContext) -> PairContext:
    """The same batch of a matcher that compares regions and words only."""
    sequences = Encoded(
        tokens=torch.zeros(len(context.images), 2, 3), mask=torch.ones(len(context.images), 2, dtype=torch.bool)
    )
    return context._replace(images=sequences, texts=sequences)
