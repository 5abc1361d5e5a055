import subprocess
import sys

import pytest

from tangka_match import metrics

HEAVY = ("hydra", "omegaconf", "pytorch_lightning", "wandb")


SCRIPT = """
import sys
import tangka_match.metrics
print(*{name.split(".")[0] for name in sys.modules})
from tangka_match.metrics import RetrievalMetrics
print(*{name.split(".")[0] for name in sys.modules})
"""


def test_import_loads_no_framework():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    functions, metric = (set(line.split()) for line in done.stdout.splitlines())
    assert functions.isdisjoint({*HEAVY, "torchmetrics", "matplotlib"})
    assert "torchmetrics" in metric
    assert metric.isdisjoint(HEAVY)


def test_public_names_exist():
    assert all(hasattr(metrics, name) for name in metrics.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'tangka_match\.metrics' has no attribute 'recall_at_9'"):
        _ = metrics.recall_at_9
