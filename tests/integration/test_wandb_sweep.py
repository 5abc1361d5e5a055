"""A grid of three jobs, one of which crashes, as recorded by W&B offline."""

import json

import pytest

from helpers.cli import run_cli_in_process
from helpers.wandb_files import find_offline_runs
from tangka_match.records.ledger import read_ledger

from .conftest import places

RATES = ("0.001", "0.002", "1e+30")


@pytest.fixture(scope="module")
def sweep(demo_data, tmp_path_factory):
    """Run the sweep; return folder, result of the command, and the W&B run of each job by learning rate."""
    folder = tmp_path_factory.mktemp("sweep")
    words = ("-m", "+experiment=debug", "logger=wandb", f"optimizer.lr={','.join(RATES)}", "tags=[grid]")
    done = run_cli_in_process(*words, *places(demo_data, folder))
    return folder, done, {f"{run.config['optimizer']['lr']:g}": run for run in find_offline_runs(folder)}


def start_of(folder, run):
    return read_ledger(folder / "runs" / run.run_id / "ledger.jsonl")[0]


def test_every_job_is_a_wandb_run(sweep):
    folder, _, runs = sweep
    assert list(runs) == list(RATES)
    assert {run.run_id for run in runs.values()} == {path.parent.name for path in folder.glob("runs/*/config.yaml")}
    assert [run.name.partition(" thumb")[0] for run in runs.values()] == [f"debug lr={text}" for text in RATES]


def test_jobs_are_one_group(sweep):
    folder, _, runs = sweep
    groups = {start_of(folder, run)["sweep"] for run in runs.values()}
    assert {run.group for run in runs.values()} == groups
    assert len(groups) == 1
    assert {run.job_type for run in runs.values()} == {"train"}
    assert all({"debug", "VSE", "seed0", "grid"} == set(run.tags) for run in runs.values())


def test_crashed_job_has_exit_code_1(sweep):
    _, done, runs = sweep
    assert done.code != 0
    assert "the training loss is nan" in done.stderr
    assert [run.exit_code for run in runs.values()] == [0, 0, 1]


def test_run_has_config_and_overrides_of_its_job(sweep):
    folder, _, runs = sweep
    for text, run in runs.items():
        assert {"+experiment=debug", f"optimizer.lr={text}"} <= set(run.config["overrides"])
        assert run.config["overrides"] == start_of(folder, run)["overrides"]
        assert run.config["model"]["_target_"] == "tangka_match.models.VSE"


def test_run_has_history_of_its_job(sweep):
    folder, _, runs = sweep
    for text in RATES[:2]:
        run = runs[text]
        logged = [(row["trainer/global_step"], row["train/loss"]) for row in run.history if "train/loss" in row]
        events = read_ledger(folder / "runs" / run.run_id / "ledger.jsonl")
        metrics = [event for event in events if event["event"] == "metrics"]
        assert logged == [(e["step"], e["values"]["train/loss"]) for e in metrics if "train/loss" in e["values"]]
        assert [step for step, _ in logged] == list(range(6))


def test_summary_and_artifact_have_metrics_of_best_checkpoint(sweep):
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
