from dataclasses import replace

import pytest

from helpers.precomp import write_dataset
from helpers.small_runs import small_plan
from tangka_match.data.datamodule import RegionTextDataModule
from tangka_match.errors import ConfigError
from tangka_match.training.plan import check_negatives, length_warnings, planned_length


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


def with_batches(tmp_path, **options):
    """Return the plan of a run on twelve pairs with these options of the data."""
    plan = small_plan(tmp_path)
    plan = replace(plan, data=RegionTextDataModule(str(write_dataset(tmp_path / "data")), **options))
    plan.data.setup("fit")
    return plan


def test_batches_of_one_pair_are_refused(tmp_path):
    plan = with_batches(tmp_path, batch_size=1)
    with pytest.raises(ConfigError, match=r"data\.batch_size=1: .* one pair, which has no negatives.*at least 2"):
        check_negatives(plan, 1)
    check_negatives(plan, 2)
    check_negatives(with_batches(tmp_path, batch_size=2), 1)


def test_last_batch_of_one_pair_is_noted(tmp_path):
    def warnings(**options):
        plan = with_batches(tmp_path, **options)
        return length_warnings(plan, planned_length(plan))

    (warning,) = warnings(batch_size=11, drop_last=False)
    assert warning.startswith("data.batch_size=11 leaves one of 12 pairs for the last batch of every epoch")
    assert warnings(batch_size=11) == warnings(batch_size=10, drop_last=False) == []
