import json

import pytest
import torch

from tangka_match.errors import TrainingError
from tangka_match.metrics import summarise
from tangka_match.metrics.ranks import Ranks
from tangka_match.sweeps.objectives import HIGHER_IS_BETTER, LOWER_IS_BETTER, read_figures


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
