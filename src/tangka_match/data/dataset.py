"""Pairs, images and captions of a split, fetched and collated a whole batch at a time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset

from tangka_match.data.captions import group_texts
from tangka_match.data.encoding import EncodedCaptions
from tangka_match.data.regions import read_regions
from tangka_match.data.split import Split
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.types import CaptionBatch, ImageBatch, RegionTextBatch


class ImageRows(NamedTuple):
    """Images of a batch: regions (B, R, F) as stored, mask (B, R), image index (B,)."""

    regions: npt.NDArray[np.floating[Any]]
    region_mask: npt.NDArray[np.bool_]
    image_index: npt.NDArray[np.int64]


class CaptionRows(NamedTuple):
    """Captions of a batch: B arrays of token ids, each of its own length, and caption index (B,)."""

    token_ids: list[npt.NDArray[np.int64]]
    caption_index: npt.NDArray[np.int64]


class PairRows(NamedTuple):
    """Matching images and captions of a batch, and text group (B,): equal for captions of the same text."""

    images: ImageRows
    captions: CaptionRows
    text_group: npt.NDArray[np.int64]


class PairDataset(Dataset[PairRows]):
    """Matching pairs: item c is caption c and the image it describes.

    Args:
        split: Where the images come from.
        encoded: Its C captions, encoded.
        read_images: Whether batches bring the regions; without them they have 0 regions, and someone else knows them.
    """

    def __init__(self, split: Split, encoded: EncodedCaptions, *, read_images: bool = True) -> None:
        self.images: ImageDataset | _UnreadImages = ImageDataset(split) if read_images else _UnreadImages(split)
        self.captions = CaptionDataset(encoded)
        self.caption_to_image = split.caption_to_image
        self.text_group = group_texts(split.captions)

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> PairRows:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> PairRows:
        """Fetch these pairs by one read.

        Raises:
            DataFormatError: If the features of an image are not finite or are all zeros.
        """
        rows = np.asarray(indices, dtype=np.int64)
        return PairRows(
            images=self.images.__getitems__(self.caption_to_image[rows]),
            captions=self.captions.__getitems__(rows),
            text_group=self.text_group[rows],
        )


class ImageDataset(Dataset[ImageRows]):
    """Every image of a split once.

    Args:
        split: Where the images come from.
    """

    def __init__(self, split: Split) -> None:
        self.features = split.features
        self.image_ids = split.image_ids

    def __len__(self) -> int:
        return self.features.num_images

    def __getitem__(self, index: int) -> ImageRows:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> ImageRows:
        """Fetch these images by one read.

        Raises:
            DataFormatError: If the features of an image are not finite or are all zeros.
        """
        rows = np.asarray(indices, dtype=np.int64)
        return ImageRows(*read_regions(self.features, rows, self.image_ids), image_index=rows)


class _UnreadImages:
    """Images of which only the index is given."""

    def __init__(self, split: Split) -> None:
        self.nothing = np.empty((0, split.features.feature_dim), split.features.dtype)

    def __getitems__(self, indices: npt.NDArray[np.int64]) -> ImageRows:
        regions = np.broadcast_to(self.nothing, (len(indices), *self.nothing.shape))
        return ImageRows(regions.copy(), np.empty((len(indices), 0), np.bool_), indices)


class CaptionDataset(Dataset[CaptionRows]):
    """Every caption of a split once.

    Args:
        encoded: Its C captions, encoded.
    """

    def __init__(self, encoded: EncodedCaptions) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> CaptionRows:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> CaptionRows:
        """Fetch these captions."""
        return CaptionRows([self.encoded[int(i)] for i in indices], np.asarray(indices, dtype=np.int64))


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
