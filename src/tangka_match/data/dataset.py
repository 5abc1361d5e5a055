"""Datasets of pairs, images and captions, read and collated one batch at a time; features kept on a device."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from tangka_match.data.captions import group_texts
from tangka_match.data.encoding import EncodedCaptions
from tangka_match.data.features import Features
from tangka_match.data.regions import read_regions
from tangka_match.data.split import Split
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.types import CaptionBatch, ImageBatch, RegionTextBatch

GPU_MEMORY_SHARE = 0.4
"""Largest share of a GPU's free memory that features may take; the rest is for the model."""

_ROWS_PER_BLOCK = 256


class ImageRows(NamedTuple):
    """Images of a batch: regions (B, R, F) as stored, mask (B, R), image index (B,)."""

    regions: npt.NDArray[np.floating[Any]]
    region_mask: npt.NDArray[np.bool_]
    image_index: npt.NDArray[np.int64]


class CaptionRows(NamedTuple):
    """Captions of a batch: B arrays of token ids of different lengths, and caption index (B,)."""

    token_ids: list[npt.NDArray[np.int64]]
    caption_index: npt.NDArray[np.int64]


class PairRows(NamedTuple):
    """Matching images and captions of a batch, and text group (B,), equal for captions with the same text."""

    images: ImageRows
    captions: CaptionRows
    text_group: npt.NDArray[np.int64]


class PairDataset(Dataset[PairRows]):
    """Matching pairs: item c is caption c and the image it describes.

    Args:
        split: Split to read the images from.
        encoded: Encoded captions of the split.
        read_images: Whether to read the regions; ``False`` gives 0 regions per image, to be added by
            ``DeviceFeatures.fill``.
    """

    def __init__(self, split: Split, encoded: EncodedCaptions, *, read_images: bool = True) -> None:
        self.images: ImageDataset | _ImageIndices = ImageDataset(split) if read_images else _ImageIndices(split)
        self.captions = CaptionDataset(encoded)
        self.caption_to_image = split.caption_to_image
        self.text_group = group_texts(split.captions)

    def __len__(self) -> int:
        return len(self.captions)

    def __getitem__(self, index: int) -> PairRows:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> PairRows:
        """Read these pairs at once.

        Raises:
            DataFormatError: If the features of an image are not finite or all zero.
        """
        rows = np.asarray(indices, dtype=np.int64)
        return PairRows(
            images=self.images.__getitems__(self.caption_to_image[rows]),
            captions=self.captions.__getitems__(rows),
            text_group=self.text_group[rows],
        )


class ImageDataset(Dataset[ImageRows]):
    """Images of a split, each once.

    Args:
        split: Split to read the images from.
    """

    def __init__(self, split: Split) -> None:
        self.features = split.features
        self.image_ids = split.image_ids

    def __len__(self) -> int:
        return self.features.num_images

    def __getitem__(self, index: int) -> ImageRows:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> ImageRows:
        """Read these images at once.

        Raises:
            DataFormatError: If the features of an image are not finite or all zero.
        """
        rows = np.asarray(indices, dtype=np.int64)
        return ImageRows(*read_regions(self.features, rows, self.image_ids), image_index=rows)


class _ImageIndices:
    """Images without regions: only their indices are returned."""

    def __init__(self, split: Split) -> None:
        self.no_regions = np.empty((0, split.features.feature_dim), split.features.dtype)

    def __getitems__(self, indices: npt.NDArray[np.int64]) -> ImageRows:
        regions = np.broadcast_to(self.no_regions, (len(indices), *self.no_regions.shape))
        return ImageRows(regions.copy(), np.empty((len(indices), 0), np.bool_), indices)


class CaptionDataset(Dataset[CaptionRows]):
    """Captions of a split, each once.

    Args:
        encoded: Encoded captions of the split.
    """

    def __init__(self, encoded: EncodedCaptions) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int) -> CaptionRows:
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int] | npt.NDArray[np.int64]) -> CaptionRows:
        """Return these captions."""
        return CaptionRows([self.encoded[int(i)] for i in indices], np.asarray(indices, dtype=np.int64))


def pad_tokens(captions: list[npt.NDArray[np.int64]]) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Pad captions to the longest caption.

    Args:
        captions: B arrays of token ids, including ``<start>`` and ``<end>``.

    Returns:
        Token ids (B, T), and their mask (B, T), ``True`` = real token.

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
    """Convert images to tensors without copying; the regions keep the stored dtype."""
    return ImageBatch(*map(torch.from_numpy, rows))


def collate_captions(rows: CaptionRows) -> CaptionBatch:
    """Convert captions to tensors, padded to the longest caption of the batch."""
    return CaptionBatch(*pad_tokens(rows.token_ids), caption_index=torch.from_numpy(rows.caption_index))


def collate_pairs(rows: PairRows) -> RegionTextBatch:
    """Convert pairs to tensors, in the given order."""
    images, captions = collate_images(rows.images), collate_captions(rows.captions)
    return RegionTextBatch(
        regions=images.regions,
        region_mask=images.region_mask,
        token_ids=captions.token_ids,
        token_mask=captions.token_mask,
        image_index=images.image_index,
        caption_index=captions.caption_index,
        text_group=torch.from_numpy(rows.text_group),
        lengths=tuple(map(len, rows.captions.token_ids)),
    )


class DeviceFeatures(NamedTuple):
    """Region features of a split on one device, so that a training batch only needs image indices.

    Args:
        regions: Features in the stored dtype, (N, R, F); 2,910 images of 36 x 2,048 in float16 take 429 MB.
        region_mask: Mask (N, R), ``True`` = real region.
    """

    regions: Float[Tensor, "N R F"]
    region_mask: Bool[Tensor, "N R"]

    @classmethod
    def load(cls, split: Split, device: torch.device) -> Self:
        """Read and check all features of a split, and copy them to the device.

        Raises:
            DataFormatError: If the features of an image are not finite or all zero.
        """
        features = split.features
        dtype = torch.from_numpy(np.empty(0, features.dtype)).dtype
        shape = (features.num_images, features.num_regions, features.feature_dim)
        regions = torch.empty(shape, dtype=dtype, device=device)
        region_mask = torch.empty(shape[:2], dtype=torch.bool, device=device)
        for start in range(0, features.num_images, _ROWS_PER_BLOCK):
            rows = np.arange(start, min(start + _ROWS_PER_BLOCK, features.num_images))
            for whole, part in zip((regions, region_mask), read_regions(features, rows, split.image_ids), strict=True):
                whole[start : start + len(rows)] = torch.from_numpy(part).to(device)
        return cls(regions, region_mask)

    def fill(self, batch: RegionTextBatch) -> RegionTextBatch:
        """Add the regions of its images to a batch that was collated without them."""
        rows = batch.image_index
        return batch._replace(regions=self.regions[rows], region_mask=self.region_mask[rows])


def image_batches(split: Split, size: int, on_device: DeviceFeatures | None) -> Iterator[ImageBatch]:
    """Yield all images of a split once, in order.

    Args:
        split: Split to read the images from.
        size: Images per batch.
        on_device: Features of the split that are kept on a device, and need not be read again.

    Raises:
        DataFormatError: If the features of an image are not finite or all zero.
    """
    images = ImageDataset(split)
    for start in range(0, len(images), size):
        rows = range(start, min(start + size, len(images)))
        if on_device is None:
            yield collate_images(images.__getitems__(rows))
        else:
            here = slice(rows.start, rows.stop)
            yield ImageBatch(on_device.regions[here], on_device.region_mask[here], torch.arange(rows.start, rows.stop))


def fits_in_gpu_memory(features: Features, device: torch.device) -> bool:
    """Whether the device is a GPU with enough free memory for the features (``GPU_MEMORY_SHARE``)."""
    if device.type != "cuda":
        return False
    size = features.num_images * features.num_regions * features.feature_dim * features.dtype.itemsize
    return size <= GPU_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]
