from dataclasses import replace

import pytest

from helpers.small_runs import small_plan
from tangka_match.training.plan import length_warnings, planned_length


@pytest.fixture
def warnings_of(tmp_path):
    def find(warmup_steps=0, **settings):
        plan = small_plan(tmp_path, **settings)
        plan = replace(plan, config={"scheduler": {"warmup_steps": warmup_steps}})
        plan.data.setup("fit")
        return length_warnings(plan, planned_length(plan))

    return find


def test_settings_that_fit_the_run_give_no_warning(warnings_of):
    assert warnings_of(warmup_steps=29, max_epochs=10, early_stopping_patience=9) == []


def test_warm_up_that_does_not_fit_is_shortened(warnings_of):
    (warning,) = warnings_of(warmup_steps=50, max_epochs=10)
    assert warning.startswith(
        "scheduler.warmup_steps=50, but the run has 30 optimizer steps: the warm-up is shortened to 3"
    )


@pytest.mark.parametrize("settings", [{}, {"val_every_n_epochs": 5, "early_stopping_patience": 2}])
def test_early_stopping_that_cannot_end_the_run_is_reported(warnings_of, settings):
    (warning,) = warnings_of(**({"max_epochs": 10, "early_stopping_patience": 10} | settings))
    assert "validations: early stopping cannot end it" in warning


def test_patience_counts_validations_within_an_epoch(warnings_of):
    assert warnings_of(max_epochs=2, early_stopping_patience=4, val_check_interval=1) == []


def test_steps_per_epoch_are_divided_by_the_number_of_processes(tmp_path):
    plan = small_plan(tmp_path)
    plan.data.setup("fit")
    assert [planned_length(plan, processes).steps for processes in (1, 2, 3)] == [6, 2, 2]
