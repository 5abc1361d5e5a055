"""A real sweep of three jobs, one of which crashes, as W&B has it offline."""

import json

import pytest

from helpers.cli import run_cli_in_process
from helpers.wandb_files import find_offline_runs
from tangka_match.records.ledger import read_ledger

from .conftest import places

RATES = ("0.001", "0.002", "1e+30")


@pytest.fixture(scope="module")
def sweep(demo_data, tmp_path_factory):
    """The folder of the sweep, how the command ended, and each job's run by its learning rate."""
    folder = tmp_path_factory.mktemp("sweep")
    words = ("-m", "+experiment=debug", "logger=wandb", f"optimizer.lr={','.join(RATES)}", "tags=[grid]")
    done = run_cli_in_process(*words, *places(demo_data, folder))
    return folder, done, {f"{run.config['optimizer']['lr']:g}": run for run in find_offline_runs(folder)}


def start_of(folder, run):
    return read_ledger(folder / "runs" / run.run_id / "ledger.jsonl")[0]


def test_every_job_is_a_run_of_its_own(sweep):
    folder, _, runs = sweep
    assert list(runs) == list(RATES)
    assert {run.run_id for run in runs.values()} == {path.parent.name for path in folder.glob("runs/*/config.yaml")}
    assert [run.name.partition(" thumb")[0] for run in runs.values()] == [f"debug lr={text}" for text in RATES]


def test_the_jobs_are_one_group(sweep):
    folder, _, runs = sweep
    groups = {start_of(folder, run)["sweep"] for run in runs.values()}
    assert {run.group for run in runs.values()} == groups
    assert len(groups) == 1
    assert {run.job_type for run in runs.values()} == {"train"}
    assert all({"debug", "VSE", "seed0", "grid"} == set(run.tags) for run in runs.values())


def test_a_crashed_job_is_told_from_the_finished_ones(sweep):
    _, done, runs = sweep
    assert done.code != 0
    assert "the training loss is nan" in done.stderr
    assert [run.exit_code for run in runs.values()] == [0, 0, 1]


def test_a_job_has_its_own_config_and_what_the_command_line_set_for_it(sweep):
    folder, _, runs = sweep
    for text, run in runs.items():
        assert {"+experiment=debug", f"optimizer.lr={text}"} <= set(run.config["overrides"])
        assert run.config["overrides"] == start_of(folder, run)["overrides"]
        assert run.config["model"]["_target_"] == "tangka_match.models.VSE"


def test_a_job_has_its_own_history(sweep):
    folder, _, runs = sweep
    for text in RATES[:2]:
        run = runs[text]
        logged = [(row["trainer/global_step"], row["train/loss"]) for row in run.history if "train/loss" in row]
        events = read_ledger(folder / "runs" / run.run_id / "ledger.jsonl")
        metrics = [event for event in events if event["event"] == "metrics"]
        assert logged == [(e["step"], e["values"]["train/loss"]) for e in metrics if "train/loss" in e["values"]]
        assert [step for step, _ in logged] == list(range(6))


def test_the_summary_and_the_artifact_say_what_the_best_checkpoint_is_worth(sweep):
    folder, _, runs = sweep
    for text in RATES[:2]:
        run = runs[text]
        result = json.loads((folder / "runs" / run.run_id / "result.json").read_text("utf-8"))
        assert {name: run.summary[f"val/{name}"] for name in result["val_metrics"]} == result["val_metrics"]
        (model,) = (artifact for artifact in run.artifacts if artifact.kind == "model")
        assert model.metadata == result
        assert {"config_hash", "data_fingerprint", "vocabulary_fingerprint"} <= set(model.metadata)
        assert model.files["best.ckpt"].samefile(folder / "checkpoints" / "debug" / run.run_id / "best.ckpt")
    assert runs["1e+30"].artifacts == []
