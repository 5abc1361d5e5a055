"""L2 normalisation, the precision of operations, oneDNN settings, and a two-Gaussian mixture."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

GPU_MEMORY_SHARE = 0.4
"""Largest share of a GPU's free memory that features or encodings take to stay there; the rest is for the model."""

_CACHE_CAPACITY = "128"
_CACHE_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # read by oneDNN, and by PyTorch for it
_TF32_LOCK = threading.Lock()
_TF32_BLOCKS: dict[object, bool] = {}  # blocks of `tf32` that have begun and not ended, in this order
_TF32_BEFORE: list[bool] = [False, True]  # flags before the first of them
_VARIANCE_FLOOR = 5e-4
_MAX_ROUNDS = 200


def l2_normalise(x: Float[Tensor, "*shape"], dim: int = -1, eps: float = 1e-8) -> Float[Tensor, "*shape"]:
    r"""L2-normalise vectors: :math:`x / (\lVert x \rVert + \epsilon)`, with :math:`\epsilon` outside the root.

    A zero vector stays zero and gets a gradient of zero, where ``sqrt`` would give NaN. The norm is computed in at
    least float32, because ``eps`` is zero in float16.

    Args:
        x: Vectors along ``dim``, of any floating dtype.
        dim: Axis of the components.
        eps: Added to the norm.

    Returns:
        Normalised vectors, in the shape and dtype of ``x``.

    Example:
        >>> l2_normalise(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    wide = at_least_float32(x)
    norm = torch.linalg.vector_norm(wide, dim=dim, keepdim=True)
    scale = (norm + eps).reciprocal().masked_fill(norm == 0, 0)
    return (wide * scale).to(x.dtype)


def at_least_float32(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Cast half precision to float32; leave float32 and float64 as they are.

    Example:
        >>> at_least_float32(torch.ones(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def autocast_dtype(x: Float[Tensor, "*shape"]) -> torch.dtype:
    """Return the dtype in which a matrix product of ``x`` is computed under the current autocast state.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     autocast_dtype(torch.ones(1)), autocast_dtype(torch.ones(1, dtype=torch.float64))
        (torch.bfloat16, torch.float64)
    """
    kind = x.device.type
    if x.dtype == torch.float64 or not torch.is_autocast_enabled(kind):
        return x.dtype
    return torch.get_autocast_dtype(kind)


def dot_products(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"]) -> Float[Tensor, "N M"]:
    """Compute the dot product of every row of ``x`` with every row of ``y``, without autocast.

    In half precision, different scores would tie.

    Example:
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     dot_products(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.999, 0.0], [0.998, 1.0]]))
        tensor([[0.9990, 0.9980]])
    """
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether matrix products in bfloat16 are not emulated on a device.

    Emulated ones are far slower than those in float32: a training step of SAF took 32 times as long on a CPU with AVX2
    only. NVIDIA GPUs compute bfloat16 since Ampere (compute capability 8.0). A CPU with AVX-512 counts as capable, also
    if oneDNN has to convert to float32.
    """
    if device.type == "cuda":
        return torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return True


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32, NVIDIA's matrix products of float32 values with 10 bits of mantissa, within the block.

    By default torch uses it in cuDNN, so in recurrent layers, but not in other matrix products. Without a GPU nothing
    changes. The flags belong to the process: of blocks that run at the same time in several threads, the last one to
    begin decides, and the last one to end restores what was before the first.

    Args:
        allowed: Whether matrix products, convolutions and recurrent layers may use TF32.
    """
    if not torch.cuda.is_available():
        yield
        return
    block = object()
    with _TF32_LOCK:
        _TF32_BLOCKS[block] = allowed
        if len(_TF32_BLOCKS) == 1:
            _TF32_BEFORE[:] = _tf32_flags()
        _set_tf32(allowed, allowed)
    try:
        yield
    finally:
        with _TF32_LOCK:
            del _TF32_BLOCKS[block]
            left = list(_TF32_BLOCKS.values())
            _set_tf32(*((left[-1], left[-1]) if left else _TF32_BEFORE))


def _tf32_flags() -> tuple[bool, bool]:
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


def _set_tf32(in_products: bool, in_cudnn: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = in_products, in_cudnn


def free_gpu_memory(device: torch.device) -> int:
    """Return the bytes of a GPU's memory that tensors can take: free ones, and those that torch holds for reuse."""
    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + reusable


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Compute float32 inputs in float32 within the block: no autocast, no TF32.

    Args:
        device_type: Type of the device of the computation, such as ``"cuda"``.
    """
    with torch.autocast(device_type, enabled=False), tf32(allowed=False):
        yield


def bound_primitive_caches() -> None:
    """Limit the primitive caches of oneDNN to 128 shapes instead of 1,024, unless the user has set a limit.

    Each cached shape holds memory, and captions bring new shapes with every batch: ten SGR training steps at batch 64
    took 1.6 GiB of resident memory, still growing, and take 1.0 GiB with this limit at the same speed (a limit of 32:
    0.8 GiB, but 2 % slower in training and 20 % in evaluation). Call it before the first matrix product of the process.
    """
    for variable in _CACHE_VARIABLES:
        os.environ.setdefault(variable, _CACHE_CAPACITY)


def low_component_share(values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Fit a mixture of two Gaussians, and return the posterior probability of the one with the lower mean.

    Expectation maximisation on values rescaled to [0, 1], initialised with the first and the ninth decile, with 0.0005
    added to each variance: the mixture of Li et al., "DivideMix: Learning with Noisy Labels as Semi-supervised
    Learning", arXiv:2002.07394, section 3.1. Values are clamped to the range between the means, so that the probability
    never increases with the value, even if one Gaussian is much wider than the other.

    Args:
        values: At least one value, all finite.

    Returns:
        Probabilities, float64, on the CPU; all 1 if all values are equal.

    >>> low_component_share(torch.tensor([0.1, 0.2, 0.15, 0.1, 2.0, 2.1])).round().tolist()
    [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    low, high = values.min(), values.max()
    if low == high:
        return torch.ones(len(values), dtype=torch.float64)
    points = ((values - low) / (high - low)).double().cpu()
    means = torch.quantile(points, torch.tensor([0.1, 0.9], dtype=torch.float64))
    variances = torch.full((2,), points.var(correction=0).item() + _VARIANCE_FLOOR, dtype=torch.float64)
    shares = torch.full((2,), 0.5, dtype=torch.float64)
    before = points.new_full((len(points), 2), float("inf"))
    for _ in range(_MAX_ROUNDS):
        posterior = _posterior(points, means, variances, shares)
        if torch.allclose(posterior, before, rtol=0, atol=1e-6):
            break
        before = posterior
        counts = posterior.sum(0).clamp(min=1e-12)
        shares = counts / len(points)
        means = (posterior * points[:, None]).sum(0) / counts
        variances = (posterior * (points[:, None] - means) ** 2).sum(0) / counts + _VARIANCE_FLOOR
    lower = int(means.argmin())
    return _posterior(points.clamp(means.min(), means.max()), means, variances, shares)[:, lower]


def _posterior(
    points: Float[Tensor, " N"], means: Float[Tensor, "2"], variances: Float[Tensor, "2"], shares: Float[Tensor, "2"]
) -> Float[Tensor, "N 2"]:
    log_density = -((points[:, None] - means) ** 2) / (2 * variances) - variances.log() / 2
    return (log_density + shares.log()).softmax(dim=1)
