import pytest
from pydantic import ValidationError

from helpers.small_runs import NO_AUGMENTATION, TRAINER, small_settings
from tangka_match.training.settings import AugmentationSettings, LoggerSettings, TrainerSettings, TrainingSettings

TRAINING = {
    "monitor": "val/mean_r1",
    "early_stopping_patience": None,
    "ema_decay": None,
    "swa_begin": None,
    "chunk_size": None,
    "lr_multipliers": None,
    "noisy_pairs_from": None,
    "checkpoint_every_n_steps": 1,
    "tf32": True,
    "compile": False,
}


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"max_steps": 0}, r"max_steps=0: give a positive number, or -1 to let max_epochs decide"),
        ({"max_steps": -2}, r"max_steps=-2: give"),
        ({"devices": 0}, r"devices=0: give a positive number, or -1 for all devices"),
        ({"devices": 2}, r"devices=2 with strategy='auto': several devices need strategy=ddp"),
        ({"devices": -1}, r"devices=-1 with strategy='auto'"),
        ({"limit_train_batches": 2, "overfit_batches": 2}, r"limit_train_batches=2 and overfit_batches=2 both limit"),
        ({"precision": "16-mixed"}, r"precision='16-mixed' with accelerator='cpu': on a CPU use 32-true or bf16-mixed"),
    ],
)
def test_contradicting_fields_are_both_named(trainer, message):
    with pytest.raises(ValidationError, match=message):
        TrainerSettings(**(TRAINER | trainer))


@pytest.mark.parametrize("trainer", [{"devices": 2, "strategy": "ddp"}, {"max_steps": 1}, {"precision": "bf16-mixed"}])
def test_consistent_settings_are_accepted(trainer):
    assert TrainerSettings(**(TRAINER | trainer)).model_dump() == TRAINER | trainer


@pytest.mark.parametrize(
    ("model", "values", "field"),
    [
        (AugmentationSettings, NO_AUGMENTATION | {"region_drop": 1.0}, "region_drop"),
        (AugmentationSettings, NO_AUGMENTATION | {"word_drop": -0.1}, "word_drop"),
        (
            TrainingSettings,
            TRAINING | {"ema_decay": 1.0},
            "ema_decay",
        ),
        (TrainingSettings, TRAINING | {"monitor": "val/loss"}, "monitor"),
        (LoggerSettings, {"kind": "mlflow"}, "kind"),
        (LoggerSettings, {"kind": "csv", "projct": "a"}, "projct"),
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(model, values, field):
    with pytest.raises(ValidationError, match=rf"1 validation error for {model.__name__}\n{field}\n"):
        model(**values)


def test_two_kinds_of_weight_averaging_are_refused():
    with pytest.raises(ValidationError, match=r"ema_decay=0\.9 and swa_begin=0\.5: only one average"):
        TrainingSettings(**(TRAINING | {"ema_decay": 0.9, "swa_begin": 0.5}))


def test_all_faults_are_found_at_once():
    with pytest.raises(ValidationError) as refused:
        TrainerSettings(**(TRAINER | {"max_epochs": 0, "log_every_n_steps": 0, "strategy": "fsdp"}))
    assert [error["loc"] for error in refused.value.errors()] == [
        ("strategy",),
        ("max_epochs",),
        ("log_every_n_steps",),
    ]


def test_name_must_be_a_folder_name(tmp_path):
    settings = small_settings(tmp_path).model_dump()
    with pytest.raises(ValidationError, match="name"):
        small_settings(tmp_path).model_validate(settings | {"name": "a/b"})
