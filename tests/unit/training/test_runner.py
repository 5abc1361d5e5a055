import json
import re
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import pytest
import torch

from helpers.small_runs import Stop, StoppedError, small_plan
from helpers.stub_matchers import PooledMatcher
from tangka_match.errors import CheckpointError, ConfigError, DataFormatError, TrainingError
from tangka_match.losses import Schedule, TripletMarginLoss
from tangka_match.metrics import retrieval_metrics, summarise
from tangka_match.records.ledger import read_ledger
from tangka_match.records.run_folder import RUN_ID_VARIABLE, RunFolder
from tangka_match.retrieval.evaluation_files import read_ranks_table
from tangka_match.retrieval.metadata import METADATA_KEY, read_checkpoint
from tangka_match.training import build, recorder, runner
from tangka_match.training.optimisation import warmup_constant
from tangka_match.training.plan import Reporting, SweepJob
from tangka_match.training.runner import train

DECAY = 0.6


@pytest.fixture(autouse=True)
def _restore_process_state(monkeypatch):
    for name in (RUN_ID_VARIABLE, "CUBLAS_WORKSPACE_CONFIG", "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "")  # recorded here, so that it is restored at the end
        monkeypatch.delenv(name)
    monkeypatch.setattr(runner, "keep_freed_memory", lambda: None)
    yield
    torch.use_deterministic_algorithms(False)


class Watched(PooledMatcher):
    """Matcher that records the weights used in validation."""

    validated: list[torch.Tensor]

    def encode_images(self, regions, region_mask):
        if not self.training:
            self.validated.append(self.project.detach().clone())
        return super().encode_images(regions, region_mask)


class WatchedRun:
    """Plan whose weights are recorded after each optimizer step and at each validation."""

    def __init__(self, root, **settings):
        self.stepped, self.validated = [], []
        plan = small_plan(root, **settings)
        self.plan = replace(plan, build_model=self._build, optimizer=self._optimizer)

    def _build(self, vocab_size, feature_dim, num_regions):
        self.matcher = Watched(feature_dim, 4, vocab_size)
        self.matcher.validated = self.validated
        return self.matcher

    def _optimizer(self, groups):
        optimizer = torch.optim.SGD(groups, lr=0.5)
        optimizer.register_step_post_hook(lambda *_: self.stepped.append(self.matcher.project.detach().clone()))
        return optimizer


class Exploding(TripletMarginLoss):
    """Loss that is NaN from the second epoch on."""

    schedules = MappingProxyType({"progress": Schedule(0.0, 1.0)})

    def forward(self, inputs):
        terms = super().forward(inputs)
        return terms._replace(total=terms.total * float("nan")) if self.progress > 0.55 and self.training else terms


def power_cut(*_, **__):
    raise OSError("power cut")


def only_run(root):
    (path,) = (root / "runs").iterdir()
    return RunFolder(path.name, path, root / "checkpoints" / "small" / path.name)


def failed_run(root, **settings):
    """Return the folder of a run that failed in its second epoch."""
    plan = replace(small_plan(root, **settings), build_loss=lambda: Exploding(0.2, 0.0))
    with pytest.raises(TrainingError, match=r"the training loss is nan at step \d"):
        train(plan)
    return only_run(root)


def test_result_is_that_of_the_best_checkpoint(tmp_path):
    result = train(small_plan(tmp_path))
    meta = json.loads((result.folder.checkpoints / "meta.json").read_text("utf-8"))
    best = read_checkpoint(result.folder.best)
    assert meta["val_metrics"] == result.metrics
    assert (result.best_step, result.best_epoch) == (best["global_step"], best["epoch"])
    validations = [
        event["values"]["val/mean_r1"]
        for event in read_ledger(result.folder.ledger)
        if event["event"] == "metrics" and "val/mean_r1" in event["values"]
    ]
    assert len(validations) == 2
    assert result.metrics["mean_r1"] == pytest.approx(max(validations), abs=1e-4)
    assert (result.num_images, result.num_captions, result.total_steps) == (6, 6, 6)


def test_ranks_of_the_best_checkpoint_are_written_per_query(tmp_path):
    result = train(small_plan(tmp_path))
    ranks = read_ranks_table(result.folder.ranks)
    found = [rank == 1 for query, rank in ranks.items() if query.direction == "t2i"]
    assert len(ranks) == 12
    assert 100 * sum(found) / 6 == pytest.approx(result.metrics["t2i_r1"])


def test_best_checkpoint_has_the_highest_mean_r1(tmp_path, monkeypatch):
    scripted = iter((10.0, 30.0, 20.0))
    monkeypatch.setattr(retrieval_metrics, "summarise", lambda ranks: summarise(ranks) | {"mean_r1": next(scripted)})
    result = train(small_plan(tmp_path, max_epochs=3))
    assert (result.best_epoch, result.best_step) == (1, 6)


def test_best_checkpoint_follows_the_monitored_metric(tmp_path, monkeypatch):
    scripted = iter((3.0, 1.0, 2.0))  # lower is better
    monkeypatch.setattr(
        retrieval_metrics, "summarise", lambda ranks: summarise(ranks) | {"t2i_median_rank": next(scripted)}
    )
    result = train(small_plan(tmp_path, max_epochs=3, monitor="val/t2i_median_rank"))
    assert (result.best_epoch, result.best_step) == (1, 6)


def test_early_stopping_follows_the_monitored_metric(tmp_path, monkeypatch):
    scripted = iter((30.0, 20.0, 10.0, 10.0))
    monkeypatch.setattr(retrieval_metrics, "summarise", lambda ranks: summarise(ranks) | {"rsum": next(scripted)})
    result = train(small_plan(tmp_path, max_epochs=4, monitor="val/rsum", early_stopping_patience=1))
    assert (result.best_step, result.total_steps) == (3, 6)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"fast_dev_run": True}, 1),
        ({"limit_train_batches": 2}, 4),
        ({"accumulate_grad_batches": 2}, 4),
        ({"overfit_batches": 1}, 2),
    ],
)
def test_limited_runs_end_with_a_result(tmp_path, settings, steps):
    result = train(small_plan(tmp_path, **settings))
    assert result.total_steps == steps
    assert result.num_images == 6
    assert read_ledger(result.folder.ledger)[-1]["status"] == "finished"


def test_schedules_count_optimizer_steps(tmp_path):
    plan = small_plan(tmp_path, max_epochs=4, limit_train_batches=2, accumulate_grad_batches=2)
    plan = replace(plan, scheduler=partial(warmup_constant, warmup_steps=3))
    metrics = [e["values"] for e in read_ledger(train(plan).folder.ledger) if e["event"] == "metrics"]
    rates = [values["train/lr"] for values in metrics if "train/lr" in values]
    assert rates == pytest.approx([0.5 / 3, 1.0 / 3, 0.5, 0.5])


def test_overfit_batches_repeat_the_same_pairs(tmp_path):
    plan = small_plan(tmp_path, max_epochs=3, overfit_batches=2)
    train(plan)
    sampler, epochs = plan.data.batch_sampler, []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert epochs[0] == epochs[1] == epochs[2]


@pytest.mark.parametrize(
    "settings",
    [{"accumulate_grad_batches": 2}, {"limit_train_batches": 2}, {"val_check_interval": 2}, {"overfit_batches": 2}],
    ids=str,
)
def test_resume_is_exact_with_further_trainer_arguments(tmp_path, monkeypatch, settings):
    settings = {"max_epochs": 3, "checkpoint_every_n_steps": 1, **settings}
    whole = train(small_plan(tmp_path / "a", **settings))
    stopping = replace(small_plan(tmp_path / "b", **settings), build_callbacks=lambda: [Stop(3)])
    with pytest.raises(StoppedError):
        train(stopping)
    resumed = train(small_plan(tmp_path / "b", **settings), resume=only_run(tmp_path / "b"))
    ours, theirs = (read_checkpoint(r.folder.last)["state_dict"] for r in (resumed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert logged(resumed) == logged(whole)


def logged(result):
    return [(e["step"], e["values"]) for e in read_ledger(result.folder.ledger) if e["event"] == "metrics"]


def test_validation_uses_averaged_weights(tmp_path):
    run = WatchedRun(tmp_path, ema_decay=DECAY)
    train(run.plan)
    average, averages = run.stepped[0], [run.stepped[0]]
    for weights in run.stepped[1:]:
        average = DECAY * average + (1 - DECAY) * weights
        averages.append(average)
    torch.testing.assert_close(run.validated[0], averages[2])  # after the first epoch
    torch.testing.assert_close(run.validated[1], averages[5])
    assert (averages[2] - run.stepped[2]).abs().max() > 1e-3


def test_best_checkpoint_holds_the_averaged_weights(tmp_path):
    run = WatchedRun(tmp_path, ema_decay=DECAY)
    result = train(run.plan)
    best = read_checkpoint(result.folder.best)
    validated = run.validated[result.best_step // 3 - 1]
    assert torch.equal(best["state_dict"]["matcher.project"], validated)
    assert not torch.equal(best["current_model_state"]["matcher.project"], validated)
    assert torch.equal(run.validated[-1], validated)  # the numbers of the result are of these weights too


def test_training_continues_from_the_raw_weights_not_from_the_average(tmp_path):
    averaged, plain = WatchedRun(tmp_path / "a", ema_decay=DECAY), WatchedRun(tmp_path / "b")
    train(averaged.plan)
    train(plain.plan)
    assert all(torch.equal(a, b) for a, b in zip(averaged.stepped, plain.stepped, strict=True))


@pytest.mark.parametrize(("before", "after"), [(None, DECAY), (DECAY, None)])
def test_resume_with_another_averaging_is_refused(tmp_path, before, after):
    folder = failed_run(tmp_path, ema_decay=before)
    with pytest.raises(CheckpointError, match=r"weight averaging, but here weights are (not )?averaged"):
        train(small_plan(tmp_path, ema_decay=after), resume=folder)


def test_resumed_run_finishes(tmp_path):
    folder = failed_run(tmp_path)
    assert read_ledger(folder.ledger)[-1]["status"] == "failed"
    result = train(small_plan(tmp_path), resume=folder)
    events = read_ledger(folder.ledger)
    steps = [e["step"] for e in events if e["event"] == "metrics" and "train/loss" in e["values"]]
    assert (steps, events[-1]["status"], result.total_steps) == ([0, 1, 2, 3, 4, 5], "finished", 6)
    validated = [e["step"] for e in events if e["event"] == "metrics" and "val/rsum" in e["values"]]
    assert validated == [2, 5]


def test_resumed_run_keeps_its_overrides_and_group(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(recorder, "make_service_logger", lambda *_, **about: started.append(about))
    plan = replace(small_plan(tmp_path), build_loss=lambda: Exploding(0.2, 0.0), overrides=("seed=1",))
    with pytest.raises(TrainingError):
        train(plan)
    train(small_plan(tmp_path), resume=only_run(tmp_path))
    assert [(about["overrides"], about["group"]) for about in started] == [(["seed=1"], "small")] * 2


def test_logged_values_belong_to_their_step(tmp_path):
    """Every second step is logged; each step has another learning rate."""
    plan = replace(small_plan(tmp_path, log_every_n_steps=2), scheduler=partial(warmup_constant, warmup_steps=5))
    metrics = [e for e in read_ledger(train(plan).folder.ledger) if e["event"] == "metrics"]
    rates = {e["step"]: e["values"]["train/lr"] for e in metrics if "train/lr" in e["values"]}
    assert rates == pytest.approx({1: 0.5 * 2 / 5, 3: 0.5 * 4 / 5, 5: 0.5})
    norms = {e["step"]: e["values"]["train/grad_norm"] for e in metrics if "train/grad_norm" in e["values"]}
    assert list(norms) == [1, 3, 5]
    assert len(set(norms.values())) == 3


def test_nan_loss_keeps_the_previous_checkpoints(tmp_path):
    folder = failed_run(tmp_path)
    for path in (folder.best, folder.last):
        checkpoint = read_checkpoint(path)
        assert checkpoint["global_step"] == 3
        assert checkpoint["state_dict"]["matcher.project"].isfinite().all()


def test_run_that_ends_within_its_first_epoch_has_a_best_checkpoint(tmp_path):
    result = train(small_plan(tmp_path, max_steps=2))
    assert (result.best_step, result.total_steps) == (2, 2)


def test_finished_run_cannot_be_resumed(tmp_path):
    folder = train(small_plan(tmp_path)).folder
    with pytest.raises(ConfigError, match=rf"resume={re.escape(folder.run_id)}: this run has finished"):
        train(small_plan(tmp_path), resume=folder)


def test_resume_with_another_model_is_refused(tmp_path):
    folder = failed_run(tmp_path)
    plan = replace(small_plan(tmp_path), model={"_target_": "helpers.stub_matchers.PooledMatcher", "dim": 8})
    with pytest.raises(
        CheckpointError, match=r"last\.ckpt belongs to(.|\n)*model\.dim: None in the checkpoint, 8 here"
    ):
        train(plan, resume=folder)


def test_run_without_a_checkpoint_starts_again(tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(build.LastCheckpoint, "on_train_epoch_end", lambda *_: None)
        folder = failed_run(tmp_path)
    assert not folder.last.exists()
    assert train(small_plan(tmp_path), resume=folder).total_steps == 6
    steps = [e["step"] for e in read_ledger(folder.ledger) if "train/loss" in e.get("values", {})]
    assert steps == [0, 1, 2, 3, 4, 5]


def test_run_whose_checkpoint_was_removed_does_not_start_again(tmp_path):
    folder = failed_run(tmp_path)
    events = read_ledger(folder.ledger)
    elsewhere = replace(folder, checkpoints=tmp_path / "elsewhere")
    with pytest.raises(
        CheckpointError, match=r"elsewhere/last\.ckpt does not exist, .*at step 3: set paths\.checkpoints="
    ):
        train(small_plan(tmp_path), resume=elsewhere)
    assert read_ledger(folder.ledger) == events


@pytest.mark.parametrize("patience", [1, None])
def test_resume_after_a_failure_past_the_last_step_trains_no_further_step(tmp_path, monkeypatch, patience):
    """With patience 1 the run ends after two of four epochs; without, after all four."""
    settings = {"max_epochs": 4, "early_stopping_patience": patience}
    worse = iter((10.0, *[5.0] * 3) * 2)
    monkeypatch.setattr(retrieval_metrics, "summarise", lambda ranks: summarise(ranks) | {"mean_r1": next(worse)})
    uninterrupted = train(small_plan(tmp_path / "a", **settings))
    worse = iter((10.0, *[5.0] * 3))
    with monkeypatch.context() as broken, pytest.raises(OSError, match="power cut"):
        broken.setattr(runner, "_validate_best", power_cut)
        train(small_plan(tmp_path / "b", **settings))
    resumed = train(small_plan(tmp_path / "b", **settings), resume=only_run(tmp_path / "b"))
    assert uninterrupted.total_steps == resumed.total_steps == (6 if patience else 12)
    assert resumed.metrics == uninterrupted.metrics
    ours, theirs = (read_checkpoint(r.folder.last)["state_dict"] for r in (resumed, uninterrupted))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_final_verdict_survives_a_failure_after_the_last_step(tmp_path, monkeypatch):
    add_verdict = lambda guard, step: guard._add_verdict("overfitting", "message", step)  # noqa: E731
    monkeypatch.setattr(runner.TrainingGuard, "conclude", add_verdict)
    with monkeypatch.context() as broken, pytest.raises(OSError, match="power cut"):
        broken.setattr(runner.TrainingGuard, "conclude", power_cut)
        train(small_plan(tmp_path))
    resumed = train(small_plan(tmp_path), resume=only_run(tmp_path))
    assert ("overfitting", 6) in [(verdict.code, verdict.step) for verdict in resumed.verdicts]


def test_recorded_commit_is_that_of_the_start(tmp_path, monkeypatch):
    commits = iter(("before", "after"))
    monkeypatch.setattr(recorder, "describe_environment", lambda: {"git_commit": next(commits), "sources": "s"})
    folder = train(small_plan(tmp_path)).folder
    assert json.loads((folder.path / "result.json").read_text("utf-8"))["git_commit"] == "before"


def test_bad_data_create_no_run_folder(tmp_path):
    plan = small_plan(tmp_path)
    (tmp_path / "data" / "dev_caps.txt").unlink()
    with pytest.raises(DataFormatError, match=r"dev_caps\.txt"):
        train(plan)
    assert not (tmp_path / "runs").exists()


def test_wrong_schedule_creates_no_run_folder(tmp_path):
    plan = replace(small_plan(tmp_path), scheduler=partial(warmup_constant, warmup_steps=-1))
    with pytest.raises(ConfigError, match=r"scheduler\.warmup_steps=-1 must be >= 0"):
        train(plan)
    assert not (tmp_path / "runs").exists()


def test_checkpoint_holds_metadata_of_its_data(tmp_path):
    plan = small_plan(tmp_path)
    metadata = read_checkpoint(train(plan).folder.last)[METADATA_KEY]
    assert (metadata["num_regions"], metadata["feature_dim"], metadata["name"]) == (4, 8, "small")
    assert metadata["vocabulary"] == plan.data.vocabulary.to_dict()
    assert metadata["data_fingerprint"] == plan.data.fingerprint


def test_run_of_a_sweep_records_its_job(tmp_path):
    job = SweepJob("a-study", 7, ("optimizer.lr=0.1",), Reporting("val/rsum", lambda epoch, value: epoch == 0))
    result = train(small_plan(tmp_path, max_epochs=5), job=job)
    events = read_ledger(result.folder.ledger)
    assert (events[0]["sweep"], events[0]["job"], events[0]["overrides"]) == (job.sweep, 7, ["optimizer.lr=0.1"])
    assert (result.pruned, events[-1]["status"], result.total_steps) == (True, "pruned", 3)
    assert json.loads((result.folder.path / "result.json").read_text())["num_parameters"] == result.num_parameters > 0


def test_wandb_group_is_the_sweep(tmp_path, monkeypatch):
    groups = []
    monkeypatch.setattr(recorder, "make_service_logger", lambda *args, group, **kwargs: groups.append(group))
    train(small_plan(tmp_path, max_epochs=1))
    train(small_plan(tmp_path, max_epochs=1), job=SweepJob("s", 0, ()))
    assert groups == ["small", "s"]


@pytest.mark.parametrize(
    ("precision", "device", "said"),
    [
        ("bf16-mixed", "cpu", "set trainer.precision=32-true"),
        ("bf16-mixed", "cuda", "set trainer.precision=32-true, or 16-mixed"),
        ("bf16-mixed", "mps", None),
        ("32-true", "cpu", None),
    ],
)
def test_emulated_bfloat16_is_a_warning(monkeypatch, caplog, precision, device, said):
    monkeypatch.setattr(runner, "computes_bfloat16", lambda device: device.type == "mps")
    runner._warn_of_emulation(precision, torch.device(device))
    assert [record.getMessage().endswith(said) for record in caplog.records] == ([True] if said else [])
