import pytest
from pydantic import ValidationError

from helpers.sweep_settings import sweep_settings


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objectives": ["mean_r2"]}, r"no run reports 'mean_r2'\. Did you mean mean_r1\? Allowed: mean_r1, rsum"),
        ({"objectives": []}, "at least 1 item"),
        ({"objectives": ["rsum", "rsum"]}, r"objectives=\['rsum', 'rsum'\]: each one once"),
        ({"objectives": ["rsum", "parameters"], "sampler": "cmaes"}, "sampler='cmaes' with 2 objectives: it knows one"),
        ({"sampler": "bayes"}, "'tpe', 'cmaes', 'random' or 'grid'"),
        ({"n_trials": 0}, "greater than or equal to 1"),
        ({"retries": -1}, "greater than or equal to 0"),
        ({"name": "a/b"}, "should match pattern"),
        ({"trials": 3}, "Extra inputs are not permitted"),
    ],
)
def test_faults(changed, message):
    with pytest.raises(ValidationError, match=message):
        sweep_settings(**changed)


def test_several_objectives_are_not_pruned():
    assert sweep_settings().prunes
    assert not sweep_settings(pruner="none").prunes
    assert not sweep_settings(objectives=["mean_r1", "parameters"]).prunes
