"""Match Chinese captions with images on precomputed region features.

Data flow: ``conf/`` → command → ``config`` builds objects → ``training.runner.train`` → ``DataModule`` →
``RegionTextBatch`` → ``Matcher`` → similarity (images × captions) → loss and ranks.

Names below are imported on first use (PEP 562), so that ``import tangka_match`` does not import torch.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if sys.platform == "win32":
    raise ImportError("tangka_match supports Linux, macOS and WSL2, but not native Windows: install it in WSL2")

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from tangka_match.retrieval.trained_matcher import TrainedMatcher

__version__ = "0.2.0"

_HOMES = {
    "tangka_match.analysis.significance": ("compare_ranks",),
    "tangka_match.data.split": ("Split", "load_split"),
    "tangka_match.losses": (
        "AlignmentUniformityLoss",
        "BlendLoss",
        "CurriculumLoss",
        "HALLoss",
        "InfoNCELoss",
        "LossInputs",
        "LossTerms",
        "MomentumQueueLoss",
        "MultiPositiveInfoNCELoss",
        "SigmoidLoss",
        "SoftLabelLoss",
        "TripletMarginLoss",
        "WordPredictionLoss",
    ),
    "tangka_match.metrics": (
        "Ranks",
        "RetrievalMetrics",
        "confidence_intervals",
        "mean_rank",
        "median_rank",
        "recall_at_k",
        "retrieval_ranks",
    ),
    "tangka_match.models.registry": ("list_models",),
    "tangka_match.registry": (
        "register_callback",
        "register_loss",
        "register_matcher",
        "register_optimizer",
        "register_scheduler",
        "register_tokenizer",
    ),
    "tangka_match.retrieval.evaluation": ("evaluate_split",),
    "tangka_match.retrieval.index": ("Index",),
    "tangka_match.retrieval.protocols": ("EvaluationProtocol",),
    "tangka_match.retrieval.trained_matcher": ("TrainedMatcher",),
    "tangka_match.types": ("Encoded", "Matcher"),
}
"""Modules that the public names come from."""

_MODULES = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["load", *_MODULES]  # noqa: PLE0604 - strings all


def load(
    path: "str | Path",
    *,
    device: "torch.device | str" = "cpu",
    batch_size: int = 128,
    dtype: "torch.dtype | None" = None,
) -> "TrainedMatcher":
    """Load a trained model from a checkpoint, without executing anything in the file.

    Args:
        path: Path of a ``best.ckpt`` or ``last.ckpt``.
        device: Device to compute on.
        batch_size: Number of images or captions encoded at once.
        dtype: ``torch.float32`` (the default), or ``torch.bfloat16``, in which close scores may tie.

    Raises:
        ConfigError: If ``dtype`` or ``batch_size`` is not allowed.
        CheckpointError: If the file is missing, damaged, unsafe, or its parts do not fit each other.
    """
    import torch  # noqa: PLC0415 - slow to import

    from tangka_match.retrieval.trained_matcher import TrainedMatcher  # noqa: PLC0415

    return TrainedMatcher.load(path, device=device, batch_size=batch_size, dtype=dtype or torch.float32)


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
