"""Refusal of every operation for which the host of a GPU would have to wait, on a CPU."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "masked_select",
    "is_nonzero",
}
READING = ("cpu", "item", "numpy", "tolist")


def reads_a_mask(name: str, args: Sequence[Any]) -> bool:
    """Whether an operation indexes with a mask, whose number of true elements the host would wait for."""
    indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


class NoWaits(TorchDispatchMode):
    """Fails where the result of an operation on a device is needed by the host."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in WAITING and not reads_a_mask(name, args), f"{func} makes the host wait"
        return func(*args, **(kwargs or {}))


@contextmanager
def no_waits() -> Iterator[None]:
    """Refuse these operations, in the backward pass as well, and the methods that copy a tensor to the host."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a tensor is copied to the host")

    with pytest.MonkeyPatch.context() as patch, NoWaits():
        for name in READING:
            patch.setattr(torch.Tensor, name, refuse)
        yield


@contextmanager
def on_meta() -> Iterator[None]:
    """Let models compute on the meta device, which torch's autocast does not know."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
        patch.setattr(torch, "is_autocast_enabled", lambda *_: False)
        yield
