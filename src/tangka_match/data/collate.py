"""Rows of a data set into the tensors of a batch."""

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from tangka_match.data.dataset import CaptionRows, ImageRows, PairRows
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.types import CaptionBatch, ImageBatch, RegionTextBatch


def pad_tokens(captions: list[npt.NDArray[np.int64]]) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Pad captions at the end to the longest of them; their order stays.

    Args:
        captions: B arrays of token ids, ``<start>`` and ``<end>`` included.

    Returns:
        Token ids (B, T), and their mask (B, T), ``True`` where a token is real.

    >>> ids, mask = pad_tokens([np.array([1, 5, 2]), np.array([1, 6, 7, 2])])
    >>> ids.tolist(), mask.sum(1).tolist()
    ([[1, 5, 2, 0], [1, 6, 7, 2]], [3, 4])
    """
    lengths = torch.tensor([len(caption) for caption in captions])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    ids = torch.full(mask.shape, Vocabulary.PAD, dtype=torch.int64)
    ids[mask] = torch.from_numpy(np.concatenate(captions))
    return ids, mask


def collate_images(rows: ImageRows) -> ImageBatch:
    """Tensors over the rows' own memory; the regions keep the stored dtype."""
    return ImageBatch(*map(torch.from_numpy, rows))


def collate_captions(rows: CaptionRows) -> CaptionBatch:
    """Tensors of token ids, padded to the longest caption of the batch."""
    return CaptionBatch(*pad_tokens(rows.token_ids), caption_index=torch.from_numpy(rows.caption_index))


def collate_pairs(rows: PairRows) -> RegionTextBatch:
    """Images and captions of a batch of pairs, in the order given."""
    images, captions = collate_images(rows.images), collate_captions(rows.captions)
    return RegionTextBatch(
        regions=images.regions,
        region_mask=images.region_mask,
        token_ids=captions.token_ids,
        token_mask=captions.token_mask,
        image_index=images.image_index,
        caption_index=captions.caption_index,
        text_group=torch.from_numpy(rows.text_group),
    )
