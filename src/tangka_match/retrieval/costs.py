"""Time and memory of scoring, for the terminal and ``metrics.json``."""

import resource
import sys

import torch


def peak_memory_mib() -> float:
    """Return the peak memory of the GPU where one was used, else of this process, in MiB."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes on macOS, KiB on Linux


def describe_costs(queries: int, gallery: int, seconds: float) -> str:
    """Return a line for the terminal.

    Args:
        queries: Number of queries.
        gallery: Number of items that each was compared with.
        seconds: Time for all of them.

    >>> describe_costs(10, 4000, 0.05).partition(", peak")[0]
    '5.00 ms per query, 800,000 pairs per second'
    """
    return (
        f"{1000 * seconds / queries:.2f} ms per query, {queries * gallery / seconds:,.0f} pairs per second, "
        f"peak memory {peak_memory_mib():,.0f} MiB"
    )
