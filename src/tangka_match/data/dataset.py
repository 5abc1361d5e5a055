"""Pairs, images and captions of a split, fetched a whole batch at a time.

A ``DataLoader`` hands all indices of a batch to ``__getitems__`` at once, so that a batch is one read from the mapped
file; the rows come back in columns, and ``collate`` makes tensors of them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from tangka_match.data.captions import group_texts
from tangka_match.data.encoding import EncodedCaptions
from tangka_match.data.region_mask import read_regions
from tangka_match.data.split import Split


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
