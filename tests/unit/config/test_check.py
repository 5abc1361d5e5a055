import pytest
from omegaconf import OmegaConf

from helpers.configs import compose_config
from tangka_match.config.check import check_config
from tangka_match.errors import ConfigError

FAULTS = [
    ("seed=-1", r"seed=-1: Input should be greater than or equal to 0"),
    ("name=a/b", r"name='a/b': String should match pattern"),
    ("trainer.max_epochs=abc", r"trainer\.max_epochs='abc': Input should be a valid integer"),
    ("trainer.precision=fp8", r"trainer\.precision='fp8': Input should be '32-true', 'bf16-mixed' or '16-mixed'"),
    ("training.lr_multipliers={text_encoder:0}", r"lr_multipliers\.text_encoder=0: Input should be greater than 0"),
    ("augmentation.word_drop=1.0", r"augmentation\.word_drop=1\.0: Input should be less than 1"),
    ("+trainer.max_epoch=1", r"trainer\.max_epoch: there is no such setting\. Did you mean max_epochs or max_steps\?"),
    ("+sede=1", r"sede: there is no such setting\. Did you mean seed or"),
    ("+model.margni=1", r"model\.margni: tangka_match\.models\.VSE takes no such argument"),
    ("model.embed_dim=abc", r"model\.embed_dim='abc': tangka_match\.models\.VSE takes int"),
    ("~scheduler.warmup_steps", r"scheduler\.warmup_steps: .*warmup_cosine needs it, and it is not set"),
    (
        "trainer.devices=2",
        r"trainer: devices=2 with strategy='auto': several devices need strategy=ddp",
    ),
    ("trainer.devices=0", r"trainer: devices=0: give a positive number, or -1 for every device"),
    ("trainer.max_steps=0", r"trainer: max_steps=0: give a positive number, or -1"),
    (
        "training.early_stopping_patience=40",
        r"^  training\.early_stopping_patience=40 .* trainer\.max_epochs=30: lower the patience, or set it to null",
    ),
]


@pytest.mark.parametrize(("override", "message"), FAULTS, ids=[override for override, _ in FAULTS])
def test_each_fault_names_setting_value_and_what_is_allowed(override, message):
    with pytest.raises(ConfigError, match=rf"(?m){message}"):
        check_config(compose_config(override))


def test_two_settings_that_contradict_each_other_are_both_named():
    with pytest.raises(ConfigError, match=r"precision='16-mixed' with accelerator='cpu': on a CPU use 32-true or bf16"):
        check_config(compose_config("trainer=cpu", "trainer.precision=16-mixed"))


def test_every_fault_is_listed_not_the_first_one_only():
    with pytest.raises(ConfigError) as caught:
        check_config(compose_config("seed=-1", "model.embed_dim=abc", "optimizer.lr=abc", "trainer.devices=2", "+a=1"))
    found = [line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert found == ["a", "model.embed_dim='abc'", "optimizer.lr='abc'", "seed=-1", "trainer"]


def test_settings_come_back_typed_and_values_plain():
    settings, plain = check_config(compose_config("trainer.max_epochs=3", "data.root=${paths.data}/mine"))
    assert settings.trainer.max_epochs == 3
    assert plain["data"]["root"] == "data/mine"
    assert type(plain["loss"]["margin"]) is list


def test_the_config_that_a_run_keeps_passes_again():
    _, plain = check_config(compose_config())
    assert check_config(OmegaConf.create(plain))[1] == plain
