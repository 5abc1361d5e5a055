"""Run a function in two processes connected by gloo, and collect the results."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.distributed import _all_gather_ddp_if_available
from torch import Tensor, distributed, multiprocessing

Work = Callable[[int], Any]


class Gatherer(pl.LightningModule):
    """Module with the ``all_gather`` of Lightning's DDP strategy, without a trainer."""

    def all_gather(self, data: Tensor, group: Any = None, sync_grads: bool = False) -> Tensor:  # type: ignore[override]
        return _all_gather_ddp_if_available(data, group=group, sync_grads=sync_grads)


def in_two_processes(work: Work, folder: Path) -> list[Any]:
    """Call ``work(rank)`` in two processes.

    Args:
        work: A function of a module that can be imported; it returns plain values and tensors.
        folder: Folder for the rendezvous of the processes and for their results.
    """
    multiprocessing.start_processes(_worker, args=(work, folder), nprocs=2, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def _worker(rank: int, work: Work, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    torch.save(work(rank), folder / f"{rank}.pt")
    distributed.destroy_process_group()  # after an error it would wait for the other process
