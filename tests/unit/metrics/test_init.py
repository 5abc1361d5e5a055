import subprocess
import sys

import pytest

from tangka_match import metrics

HEAVY = ("hydra", "omegaconf", "pytorch_lightning", "wandb")


def modules_after(statement):
    """Top-level modules of a fresh interpreter after a statement."""
    script = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    )


def test_functions_bring_in_nothing_heavy():
    assert modules_after("import tangka_match.metrics").isdisjoint({*HEAVY, "torchmetrics", "matplotlib"})


def test_the_metric_brings_in_no_framework():
    loaded = modules_after("from tangka_match.metrics import RetrievalMetrics")
    assert "torchmetrics" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_every_public_name_is_there():
    assert all(hasattr(metrics, name) for name in metrics.__all__)


def test_unknown_name():
    with pytest.raises(AttributeError, match=r"'tangka_match\.metrics' has no attribute 'recall_at_9'"):
        _ = metrics.recall_at_9
