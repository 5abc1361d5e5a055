"""Match Chinese captions with images on precomputed region features.

The way data flows, in one line: ``conf/`` → entry point → ``config`` builds objects → ``training.runner.train`` →
``DataModule`` → ``RegionTextBatch`` → ``Matcher`` → similarity (images × captions) → loss and ranks.

``tangka_match.load(path)`` gives back a trained model, ready to score images against captions.
"""

import sys
from typing import TYPE_CHECKING

if sys.platform == "win32":
    raise ImportError("tangka_match supports Linux, macOS and WSL2, but not native Windows: install it in WSL2")

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from tangka_match.retrieval.trained_matcher import TrainedMatcher

__version__ = "0.1.0"


def load(
    path: "str | Path",
    *,
    device: "torch.device | str" = "cpu",
    batch_size: int = 128,
    dtype: "torch.dtype | None" = None,
) -> "TrainedMatcher":
    """Rebuild a trained model from one checkpoint; nothing in the file is executed.

    Args:
        path: Of a ``best.ckpt`` or ``last.ckpt``.
        device: Where to compute.
        batch_size: Images or captions encoded at once.
        dtype: Of the computation: ``torch.float32``, which ``None`` means too, or ``torch.bfloat16``, with which close
            scores may tie.

    Raises:
        ConfigError: If ``dtype`` or ``batch_size`` is not allowed.
        CheckpointError: If the file is missing, damaged, unsafe, or its parts do not fit each other.
    """
    import torch  # noqa: PLC0415 - torch comes when it is needed

    from tangka_match.retrieval.trained_matcher import TrainedMatcher  # noqa: PLC0415

    return TrainedMatcher.load(path, device=device, batch_size=batch_size, dtype=dtype or torch.float32)
