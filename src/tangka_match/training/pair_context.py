"""What a loss that reads more than scores is given, in training and in validation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch.nn.utils.rnn import pad_sequence

from tangka_match.losses import MomentumKeys, PairContext
from tangka_match.training.distributed import gather_encoded, gather_rows, gather_words
from tangka_match.types import CaptionBatch, Encoded, RegionTextBatch

if TYPE_CHECKING:
    from tangka_match.training.module import MatchingModule


def training_context(module: "MatchingModule", batch: RegionTextBatch, images: Encoded, texts: Encoded) -> PairContext:
    """Describe a training batch; where a loss asks for keys, the momentum copy takes a step first.

    Args:
        module: The module in training.
        batch: This process's pairs, before augmentation.
        images: Encoded images of the global batch.
        texts: Encoded captions of the global batch.
    """
    words, index, group = (batch.token_ids, batch.token_mask), batch.image_index, batch.text_group
    distributed = module.trainer.world_size > 1
    if distributed:
        words = gather_words(module, *words)
        index, group = gather_rows(module, index), gather_rows(module, group)
    if module.momentum is None:
        return PairContext(images, texts, *words)
    module.momentum.follow(module.matcher)
    keys = module.momentum.encode(batch)
    if distributed:
        keys = (gather_encoded(module, keys[0]), gather_encoded(module, keys[1]))
    return PairContext(images, texts, *words, MomentumKeys(*keys, index, group))


def validation_context(images: Encoded, texts: Encoded, batches: Sequence[CaptionBatch]) -> PairContext:
    """Describe a whole gallery: all its images, and all its captions, padded to the longest."""
    ids = pad_sequence([row for batch in batches for row in batch.token_ids], batch_first=True)
    mask = pad_sequence([row for batch in batches for row in batch.token_mask], batch_first=True)
    return PairContext(images, texts, ids, mask)
