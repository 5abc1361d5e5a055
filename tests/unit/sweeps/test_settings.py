import pytest
import torch
from pydantic import ValidationError

from helpers.sweep_settings import sweep_settings
from tangka_match.metric_names import HIGHER_IS_BETTER
from tangka_match.metrics import summarise
from tangka_match.metrics.ranks import Ranks
from tangka_match.sweeps.settings import LOWER_IS_BETTER


def test_objectives_are_the_reported_metrics():
    reported = summarise(Ranks(i2t=torch.tensor([1]), t2i=torch.tensor([1])))
    assert {*HIGHER_IS_BETTER, *LOWER_IS_BETTER} == {*reported, "parameters", "step_seconds"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objectives": ["mean_r2"]}, r"no run reports 'mean_r2'\. Did you mean mean_r1\? Allowed: mean_r1, rsum"),
        ({"objectives": []}, "at least 1 item"),
        ({"objectives": ["rsum", "rsum"]}, r"objectives=\['rsum', 'rsum'\]: give each one once"),
        (
            {"objectives": ["rsum", "parameters"], "sampler": "cmaes"},
            "with 2 objectives: CMA-ES has a single one",
        ),
        ({"sampler": "bayes"}, "'tpe', 'cmaes', 'random' or 'grid'"),
        ({"n_trials": 0}, "greater than or equal to 1"),
        ({"retries": -1}, "greater than or equal to 0"),
        ({"name": "a/b"}, "should match pattern"),
        ({"trials": 3}, "Extra inputs are not permitted"),
    ],
)
def test_invalid_settings_are_refused(changed, message):
    with pytest.raises(ValidationError, match=message):
        sweep_settings(**changed)


def test_studies_with_several_objectives_do_not_prune():
    assert sweep_settings().prunes
    assert not sweep_settings(pruner="none").prunes
    assert not sweep_settings(objectives=["mean_r1", "parameters"]).prunes


@pytest.mark.parametrize(
    ("objective", "prunes"), [("rsum", True), ("t2i_mean_rank", True), ("step_seconds", False), ("parameters", False)]
)
def test_trials_are_pruned_by_metrics_of_validation_only(objective, prunes):
    assert sweep_settings(objectives=[objective]).prunes == prunes
