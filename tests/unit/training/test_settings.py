import pytest
from pydantic import ValidationError

from helpers.small_runs import NO_AUGMENTATION, TRAINER, small_settings
from tangka_match.training.settings import AugmentationSettings, LoggerSettings, TrainerSettings, TrainingSettings

TRAINING = {
    "early_stopping_patience": None,
    "ema_decay": None,
    "swa_begin": None,
    "chunk_size": None,
    "lr_multipliers": None,
    "noisy_pairs_from": None,
    "checkpoint_every_n_steps": 1,
}


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({"max_steps": 0}, r"max_steps=0: give a positive number, or -1 to let max_epochs decide"),
        ({"max_steps": -2}, r"max_steps=-2: give"),
        ({"devices": 0}, r"devices=0: give a positive number, or -1 for every device"),
        ({"devices": 2}, r"devices=2 with strategy='auto': several devices need strategy=ddp"),
        ({"devices": -1}, r"devices=-1 with strategy='auto'"),
        ({"precision": "16-mixed"}, r"precision='16-mixed' with accelerator='cpu': on a CPU use 32-true or bf16-mixed"),
    ],
)
def test_contradictions_name_both_fields(trainer, said):
    with pytest.raises(ValidationError, match=said):
        TrainerSettings(**(TRAINER | trainer))


@pytest.mark.parametrize("trainer", [{"devices": 2, "strategy": "ddp"}, {"max_steps": 1}, {"precision": "bf16-mixed"}])
def test_what_agrees_is_let_in(trainer):
    assert TrainerSettings(**(TRAINER | trainer)).model_dump() == TRAINER | trainer


def test_a_patience_that_can_never_stop_the_run_is_refused(tmp_path):
    settings = small_settings(tmp_path, max_epochs=10, val_every_n_epochs=2).model_dump()
    settings["training"]["early_stopping_patience"] = 5
    with pytest.raises(
        ValidationError, match=r"early_stopping_patience=5 validations of 2 epoch\(s\) .*trainer\.max_epochs=10"
    ):
        small_settings(tmp_path).model_validate(settings)
    settings["training"]["early_stopping_patience"] = 4
    small_settings(tmp_path).model_validate(settings)


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
        (LoggerSettings, {"kind": "mlflow"}, "kind"),
        (LoggerSettings, {"kind": "csv", "projct": "a"}, "projct"),
    ],
)
def test_values_out_of_range_and_unknown_names_are_refused(model, values, field):
    with pytest.raises(ValidationError, match=rf"1 validation error for {model.__name__}\n{field}\n"):
        model(**values)


def test_a_run_keeps_one_average():
    with pytest.raises(ValidationError, match=r"ema_decay=0\.9 and swa_begin=0\.5: a run keeps one average"):
        TrainingSettings(**(TRAINING | {"ema_decay": 0.9, "swa_begin": 0.5}))


def test_all_faults_are_found_at_once():
    with pytest.raises(ValidationError) as refused:
        TrainerSettings(**(TRAINER | {"max_epochs": 0, "log_every_n_steps": 0, "strategy": "fsdp"}))
    assert [error["loc"] for error in refused.value.errors()] == [
        ("strategy",),
        ("max_epochs",),
        ("log_every_n_steps",),
    ]


def test_a_name_is_good_for_a_folder(tmp_path):
    settings = small_settings(tmp_path).model_dump()
    with pytest.raises(ValidationError, match="name"):
        small_settings(tmp_path).model_validate(settings | {"name": "a/b"})
