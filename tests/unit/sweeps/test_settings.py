import json

import pytest
import torch
from pydantic import ValidationError

from helpers.sweep_settings import sweep_settings
from tangka_match.errors import ConfigError, TrainingError
from tangka_match.metric_names import HIGHER_IS_BETTER
from tangka_match.metrics import summarise
from tangka_match.metrics.ranks import Ranks
from tangka_match.sweeps.settings import LOWER_IS_BETTER, choices, interval, read_figures


def test_the_objectives_are_what_runs_report():
    reported = summarise(Ranks(i2t=torch.tensor([1]), t2i=torch.tensor([1])))
    assert {*HIGHER_IS_BETTER, *LOWER_IS_BETTER} == {*reported, "parameters", "step_seconds"}


def write_run(folder, times):
    (folder / "result.json").write_text(json.dumps({"val_metrics": {"mean_r1": 3.5}, "num_parameters": 17}))
    lines = [{"event": "metrics", "time": t, "step": s, "epoch": 0, "values": {"train/loss": 1}} for s, t in times]
    (folder / "ledger.jsonl").write_text("\n".join(json.dumps(line) for line in lines))


def test_step_seconds_is_the_median_between_logged_steps(tmp_path):
    write_run(tmp_path, [(0, 10.0), (10, 11.0), (20, 12.5), (30, 99.0)])  # 0.1, 0.15, and a pause of a resumed run
    assert read_figures(tmp_path) == {"mean_r1": 3.5, "parameters": 17.0, "step_seconds": pytest.approx(0.15)}


def test_a_run_that_logged_once_has_no_step_seconds(tmp_path):
    write_run(tmp_path, [(0, 10.0)])
    assert read_figures(tmp_path) == {"mean_r1": 3.5, "parameters": 17.0}


@pytest.mark.parametrize("text", ["{", "[]", '{"val_metrics": 3}', "{}"])
def test_a_damaged_result_is_named(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(TrainingError, match=rf"{tmp_path}/result\.json: not the result of a run .*delete the folder"):
        read_figures(tmp_path)


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


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.4, 0.1), {}, r"loss\.margin: the lower bound 0\.4 is above the upper bound 0\.1: swap them"),
        (
            (0.0, 0.1),
            {"log": True},
            r"loss\.margin: searched in the logarithm from 0\.0: the lower bound must be",
        ),
        ((1, 9), {"log": True, "step": 2}, r"loss\.margin: a range with steps .* use interval\(1, 9\)"),
    ],
)
def test_faults_of_an_interval(arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        interval("loss.margin", *arguments, **options)


def test_no_choices():
    with pytest.raises(ConfigError, match="model: no values to choose from"):
        choices("model", [])


def test_corners_are_what_must_be_legal():
    assert interval("a", 0.1, 0.4).corners() == ["0.1", "0.4"]
    assert interval("a", 1, 4, whole=True).corners() == ["1", "4"]
    assert choices("a", ["x", "y", "x"]).corners() == ["x", "y"]


def test_a_grid_of_every_value():
    assert choices("a", ["x", "y"]).grid() == ["x", "y"]
    assert interval("a", 1, 7, whole=True, step=3).grid() == [1, 4, 7]
    assert interval("a", 0.0, 1.0, step=0.25).grid() == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_an_interval_has_no_grid():
    with pytest.raises(ConfigError, match=r"a: an interval has no end of values, .*list them \(a=0\.1,0\.2\)"):
        interval("a", 0.1, 0.4).grid()
