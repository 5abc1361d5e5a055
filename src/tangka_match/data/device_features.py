"""How training features reach the device: kept there as a whole, or read by worker processes batch by batch."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tangka_match.data.dataset import ImageDataset, collate_images
from tangka_match.data.features import Features
from tangka_match.data.regions import read_regions
from tangka_match.data.split import Split
from tangka_match.ops import GPU_MEMORY_SHARE, free_gpu_memory
from tangka_match.types import ImageBatch, RegionTextBatch

logger = logging.getLogger(__name__)

MAX_WORKERS = 4
"""Most worker processes per process that ``num_workers="auto"`` starts."""

_ROWS_PER_BLOCK = 256


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


def keep_on_device(features: Features, device: torch.device, setting: bool | str) -> bool:
    """Decide whether training features stay on the device, and log why if a GPU cannot keep them.

    Args:
        features: Training features.
        device: Device of the training.
        setting: ``data.device_features``; ``"auto"`` keeps them on a GPU if they take at most ``GPU_MEMORY_SHARE`` of
            its free memory.
    """
    if setting != "auto":
        return bool(setting)
    if device.type != "cuda":
        return False
    size = features.num_images * features.num_regions * features.feature_dim * features.dtype.itemsize
    free = free_gpu_memory(device)
    if size <= GPU_MEMORY_SHARE * free:
        return True
    logger.warning(
        "data.device_features=auto: the training features take %.1f GiB, more than %.0f %% of the %.1f GiB that are "
        "free on %s, so each batch is read from disk; data.device_features=true keeps them there all the same",
        size / 2**30,
        100 * GPU_MEMORY_SHARE,
        free / 2**30,
        device,
    )
    return False


def loading(
    num_workers: int | str, pin_memory: bool | str, device: torch.device, *, is_resident: bool
) -> dict[str, Any]:
    """Return the arguments of a ``DataLoader`` that say how its batches are read.

    Args:
        num_workers: ``data.num_workers``; ``"auto"`` starts processes if batches are read for a GPU, at most
            ``MAX_WORKERS`` and one fewer than there are cores for each training process of this machine.
        pin_memory: ``data.pin_memory``; ``"auto"`` copies batches to page-locked memory in the same case.
        device: Device of the training.
        is_resident: Whether the features are on the device, so that batches hold indices only.
    """
    reads_for_gpu = device.type == "cuda" and not is_resident
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spare = max(0, min(MAX_WORKERS, cores // max(1, torch.cuda.device_count()) - 1)) if reads_for_gpu else 0
    workers = spare if num_workers == "auto" else int(num_workers)
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": reads_for_gpu if pin_memory == "auto" else bool(pin_memory),
        # Instead of Lightning's function, which seeds each worker by rank: reading batches draws nothing at random.
        "worker_init_fn": outlive_signals if workers > 0 else None,
    }


def outlive_signals(worker: int) -> None:
    """Let a worker process of a ``DataLoader`` go on after signals that ask the job to stop, until its parent ends it.

    Slurm signals all processes of a job. The training needs batches until it has stopped, and an error would end it if
    a worker died. Workers would also inherit submitit's handler, which requeues the job. A thread that a library starts
    in a forked worker, as gRPC does while a channel is open, may take SIGTERM first; the worker then ends.

    Args:
        worker: Number of the worker.
    """
    if not hasattr(signal, "sigwaitinfo"):  # macOS, which has no clusters
        return
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    parent = multiprocessing.parent_process()  # not ``os.getppid``, which may be multiprocessing's fork server
    assert parent is not None
    threading.Thread(target=_wait_for_parent, args=(parent.pid,), daemon=True, name=f"signals-{worker}").start()


def _wait_for_parent(parent: int) -> None:
    """End this process when ``parent`` sends it SIGTERM, as ``multiprocessing`` does; torch's handler does the same."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        continue
    os._exit(0)
