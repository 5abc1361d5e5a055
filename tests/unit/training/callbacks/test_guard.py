import math
from types import SimpleNamespace

import pytest
import torch

from helpers.stub_matchers import PooledMatcher
from tangka_match.errors import TrainingError
from tangka_match.losses import (
    AlignmentUniformityLoss,
    CurriculumLoss,
    InfoNCELoss,
    LossInputs,
    TripletMarginLoss,
    collapse_value,
)
from tangka_match.models import CCA
from tangka_match.training.callbacks.guard import COLLAPSED_CHECKS, TrainingGuard, Verdict, steps_needed


class Watched:
    """A guard with a fake trainer and module."""

    def __init__(self, *, every=1, steps=10_000, loss=None):
        self.verdicts = []
        self.guard = TrainingGuard(self.verdicts.append)
        loss = loss or TripletMarginLoss(0.2, 0.0)
        inputs = LossInputs(torch.rand(4, 4), torch.eye(4, dtype=torch.bool))
        self.module = SimpleNamespace(loss=loss, last_inputs=inputs, matcher=PooledMatcher(8, 4, 60))
        self.trainer = SimpleNamespace(
            global_step=0,
            current_epoch=0,
            num_training_batches=20,
            accumulate_grad_batches=1,
            max_epochs=40,
            max_steps=-1,
            checkpoint_callback=SimpleNamespace(best_model_path=""),
            estimated_stepping_batches=steps,
            log_every_n_steps=every,
            callback_metrics={},
            state=SimpleNamespace(fn="fit"),
        )

    def step(self, loss, spread=0.3, matching=None):
        self.trainer.global_step += 1
        self.trainer.callback_metrics["train/similarity_std"] = spread
        self.module.matching_loss = loss if matching is None else matching
        self.guard.on_train_batch_end(self.trainer, self.module, {"loss": torch.tensor(loss)}, None, 0)

    def validate(self, train_loss, val_loss, mean_r1=10.0):
        self.step(train_loss)
        self.trainer.callback_metrics |= {"val/loss": val_loss, "val/mean_r1": mean_r1}
        self.guard.on_validation_start(self.trainer, self.module)
        self.guard.on_validation_end(self.trainer, self.module)
        self.trainer.current_epoch += 1

    def end(self):
        self.guard.conclude(self.trainer.global_step)

    @property
    def codes(self):
        return [verdict.code for verdict in self.verdicts]


def test_collapse_is_reported_at_the_third_check_in_a_row():
    run = Watched()
    for _ in range(COLLAPSED_CHECKS - 1):
        run.step(0.2, spread=1e-6)
    assert run.codes == []
    run.step(0.2, spread=1e-6)
    assert run.codes == ["collapse"]
    assert run.verdicts[0].step == 3
    assert "(standard deviation 1.0e-06) and the loss is at its collapse value 0.200" in run.verdicts[0].message


def test_collapse_is_reported_once():
    run = Watched()
    for spread in [1e-6] * 4 + [0.3] + [1e-6] * 4:
        run.step(0.2, spread)
    assert run.codes == ["collapse"]


def test_check_without_collapse_resets_the_count():
    run = Watched()
    for spread in (1e-6, 1e-6, 0.3, 1e-6, 1e-6):
        run.step(0.2, spread)
    assert run.codes == []


@pytest.mark.parametrize(("loss", "spread"), [(0.2, 0.05), (0.1, 1e-6), (0.25, 1e-6)])
def test_spread_scores_or_another_loss_are_not_a_collapse(loss, spread):
    run = Watched()
    for _ in range(5):
        run.step(loss, spread)
    assert run.codes == []


@pytest.mark.parametrize("size", [1, 3])
def test_batch_without_negatives_is_not_a_collapse(size):
    """One pair, or several of one image, give equal scores and a loss of zero whatever the model."""
    run = Watched()
    run.module.last_inputs = LossInputs(torch.rand(size, size), torch.ones(size, size, dtype=torch.bool))
    for _ in range(COLLAPSED_CHECKS):
        run.step(0.0, spread=0.0)
    assert run.codes == []


@pytest.mark.parametrize(
    ("loss", "quoted"),
    [
        (TripletMarginLoss(0.2, 1.0), "with this loss, the published SGRAF"),
        (CurriculumLoss(), "in a public VSE-infinity log"),
        (InfoNCELoss(), "there is no published figure for InfoNCELoss, but with the triplet loss in a public"),
    ],
)
def test_figures_are_those_of_the_running_loss(loss, quoted):
    assert steps_needed(loss)[1].startswith(quoted)


def test_collapse_value_of_zero_has_an_absolute_tolerance():
    run = Watched(loss=AlignmentUniformityLoss())
    for _ in range(COLLAPSED_CHECKS):
        run.step(-1e-4, spread=1e-6)
    assert run.codes == ["collapse"]


def test_collapse_is_judged_by_the_matching_loss():
    run = Watched()
    for _ in range(COLLAPSED_CHECKS):
        run.step(0.9, spread=1e-6, matching=0.2)
    assert run.codes == ["collapse"]


@pytest.mark.parametrize(
    ("loss", "advice"),
    [
        (TripletMarginLoss(0.2, 1.0), "Start from all negatives (loss.hard_negatives=0.0 or loss=curriculum), lower"),
        (TripletMarginLoss(0.2, 0.0), "Lower optimizer.lr, or raise scheduler.warmup_steps"),
        (CurriculumLoss(), "Reach the hardest negatives later or not at all (loss.until, loss.hard_negatives), lower"),
        (InfoNCELoss(), "Lower optimizer.lr, or raise scheduler.warmup_steps"),
    ],
)
def test_collapse_advice_names_settings_of_the_loss(loss, advice):
    run = Watched(loss=loss)
    value = collapse_value(run.module.loss, run.module.last_inputs)
    for _ in range(COLLAPSED_CHECKS):
        run.step(value, spread=1e-6)
    assert f"the model does not separate matching from other pairs. {advice}" in run.verdicts[0].message


def test_collapse_is_checked_at_logged_steps():
    run = Watched(every=5)
    for _ in range(14):
        run.step(0.2, spread=1e-6)
    assert run.codes == []
    run.step(0.2, spread=1e-6)
    assert (run.codes, run.verdicts[0].step) == (["collapse"], 15)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [1, 2, 7])
@pytest.mark.parametrize("end", ["logged step", "validation", "checkpoint"])
def test_non_finite_loss_of_any_step_stops_the_run_before_the_next_check(loss, step, end):
    run = Watched(every=9)
    for _ in range(step - 1):
        run.step(0.5)
    with pytest.raises(
        TrainingError, match=rf"the training loss is {loss} at step {step}; .*new run with a lower optimizer\.lr"
    ):
        run.step(loss)
        if end == "validation":
            run.guard.on_validation_start(run.trainer, run.module)
        if end == "checkpoint":
            run.guard.state_dict()  # Lightning asks for it first
            run.guard.on_save_checkpoint(run.trainer, run.module, {})
        for _ in range(9 - step):
            run.step(0.5)


@pytest.mark.parametrize(
    ("loss", "needed"),
    [
        (TripletMarginLoss(0.2, 1.0), 7_900),
        (TripletMarginLoss(0.2, 0.5), 1_100),
        (InfoNCELoss(), 1_100),
        (CurriculumLoss(), 1_100),
    ],
)
def test_hardest_negatives_need_more_steps(loss, needed):
    assert steps_needed(loss)[0] == needed


def test_short_schedule_is_reported_with_its_numbers():
    run = Watched(steps=800, loss=TripletMarginLoss(0.2, 1.0))
    run.guard.on_train_start(run.trainer, run.module)
    message = run.verdicts[0].message
    assert run.codes == ["short_schedule"]
    assert "this run has 800 optimizer steps, but its loss may need about 7,900" in message
    assert "An epoch has 20 steps" in message
    assert message.endswith("raise trainer.max_epochs to 395")  # 7,900 / 20


def test_model_fitted_in_closed_form_gets_no_verdict_on_a_short_schedule():
    run = Watched(steps=1)
    run.module.matcher = CCA(vocab_size=60, feature_dim=8, embed_dim=4, codebook_size=5, num_hashes=16, rank=8)
    run.guard.on_train_start(run.trainer, run.module)
    assert run.codes == []


@pytest.mark.parametrize(
    ("max_epochs", "max_steps", "advice"),
    [
        (20, -1, "raise trainer.max_epochs to 55"),  # 1,100 / 20
        (60, 400, "raise trainer.max_steps to 1,100"),
        (20, 400, "raise trainer.max_steps to 1,100 and trainer.max_epochs to 55"),
    ],
)
def test_short_schedule_advice_names_the_setting_that_ends_the_run(max_epochs, max_steps, advice):
    run = Watched(steps=400)
    run.trainer.max_epochs, run.trainer.max_steps = max_epochs, max_steps
    run.guard.on_train_start(run.trainer, run.module)
    assert run.verdicts[0].message.endswith(advice)


def test_non_finite_loss_names_the_best_checkpoint_if_there_is_one():
    run = Watched()
    with pytest.raises(TrainingError) as nothing:
        run.step(math.nan)
    run.trainer.checkpoint_callback.best_model_path = "somewhere/best.ckpt"
    with pytest.raises(TrainingError, match=r"the best weights so far are in somewhere/best\.ckpt"):
        run.step(math.nan)
    assert "best" not in str(nothing.value)


@pytest.mark.parametrize(("steps", "codes"), [(1_099, ["short_schedule"]), (1_100, [])])
def test_schedule_of_exactly_the_steps_needed_is_long_enough(steps, codes):
    run = Watched(steps=steps)
    run.guard.on_train_start(run.trainer, run.module)
    assert run.codes == codes


def test_overfitting_is_reported_with_both_curves_and_the_best_epoch():
    run = Watched()
    for train_loss, val_loss, mean_r1 in ((1.0, 0.9, 20.0), (0.6, 0.5, 31.25), (0.3, 0.8, 30.0)):
        run.validate(train_loss, val_loss, mean_r1)
    run.end()
    assert run.codes == ["overfitting"]
    message = run.verdicts[0].message
    assert "since epoch 1 the training loss fell from 0.600 to 0.300" in message
    assert "the validation loss rose from 0.500 to 0.800" in message
    assert "val/mean_r1 was highest in epoch 1 (31.25)" in message


@pytest.mark.parametrize(
    "curve",
    [
        [(1.0, 1.0), (0.6, 0.7), (0.3, 0.5)],  # both fall
        [(1.0, 0.9), (0.6, 0.5), (0.3, 0.54)],  # the validation loss rises by less than a tenth
        [(1.0, 0.9), (0.6, 0.5), (0.5, 0.9)],  # the training loss stands still
        [(1.0, 0.5), (0.3, 0.9)],  # too short to tell
    ],
)
def test_healthy_run_gets_no_verdict(curve):
    run = Watched()
    run.guard.on_train_start(run.trainer, run.module)
    for train_loss, val_loss in curve:
        run.validate(train_loss, val_loss)
    run.end()
    assert run.codes == []


def test_training_loss_of_an_epoch_is_the_mean_of_its_steps():
    run = Watched(every=50)
    run.step(0.5)
    run.validate(0.1, 0.9)
    assert run.guard.state_dict()["history"][0]["train_loss"] == pytest.approx(0.3)


def test_validation_outside_training_is_not_recorded():
    run = Watched()
    run.trainer.state.fn = "validate"
    run.guard.on_validation_end(run.trainer, run.module)
    assert run.guard.state_dict()["history"] == []


def test_guard_continues_from_its_state():
    run, resumed = Watched(), Watched()
    for train_loss, val_loss in ((1.0, 0.9), (0.6, 0.5)):
        run.validate(train_loss, val_loss)
    run.step(0.2, spread=1e-6)
    run.step(0.2, spread=1e-6)
    resumed.guard.load_state_dict(run.guard.state_dict())
    resumed.trainer.global_step, resumed.trainer.current_epoch = 4, 2
    for other in (run, resumed):
        other.step(0.2, spread=1e-6)
        other.validate(0.2, 0.9)
        other.end()
    assert resumed.codes == run.codes == ["collapse", "overfitting"]
    assert resumed.guard.state_dict() == run.guard.state_dict()


def test_resumed_run_does_not_repeat_verdicts():
    run = Watched(steps=800)
    run.guard.load_state_dict(
        {"verdicts": [["short_schedule", "message", 0]], "collapsed_checks": 0, "train_losses": [], "history": []}
    )
    run.guard.on_train_start(run.trainer, run.module)
    assert run.verdicts == []
    assert run.guard.verdicts == [Verdict("short_schedule", "message", 0)]
