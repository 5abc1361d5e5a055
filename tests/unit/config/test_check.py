import pytest
from omegaconf import OmegaConf

from helpers.configs import compose_config
from tangka_match.config.check import active_callbacks, check_config
from tangka_match.errors import ConfigError
from tangka_match.records.schema import CONFIG

FAULTS = [
    ("seed=-1", r"seed=-1: Input should be greater than or equal to 0"),
    ("name=a/b", r"name='a/b': String should match pattern"),
    ("trainer.max_epochs=abc", r"trainer\.max_epochs='abc': Input should be a valid integer"),
    ("trainer.precision=fp8", r"trainer\.precision='fp8': Input should be '32-true', 'bf16-mixed' or '16-mixed'"),
    ("training.lr_multipliers={text_encoder:0}", r"lr_multipliers\.text_encoder=0: Input should be greater than 0"),
    ("augmentation.word_drop=1.0", r"augmentation\.word_drop=1\.0: Input should be less than 1"),
    ("+trainer.max_epoch=1", r"trainer\.max_epoch: there is no such setting\. Did you mean max_epochs or min_epochs\?"),
    ("+sede=1", r"sede: there is no such setting\. Did you mean seed or"),
    ("+model.margni=1", r"model\.margni: tangka_match\.models\.VSE takes no such argument"),
    ("model.embed_dim=abc", r"model\.embed_dim='abc': tangka_match\.models\.VSE takes int"),
    ("~scheduler.warmup_steps", r"scheduler\.warmup_steps: .*warmup_cosine needs it, and it is not set"),
    (
        "trainer.devices=2",
        r"trainer: devices=2 with strategy='auto': several devices need strategy=ddp",
    ),
    ("trainer.devices=0", r"trainer: devices=0: give a positive number, or -1 for all devices"),
    ("trainer.max_steps=0", r"trainer: max_steps=0: give a positive number, or -1"),
    ("trainer.limit_train_batches=0", r"trainer: limit_train_batches=0 leaves nothing to train on"),
    ("trainer.overfit_batches=1.5", r"trainer\.overfit_batches: 1\.5 must be a number of batches \(int\), or a share"),
    ("trainer.fast_dev_run=-1", r"trainer: fast_dev_run=-1 must be true, false or a number of batches"),
    ("trainer.min_epochs=abc", r"trainer\.min_epochs='abc': pytorch_lightning\.Trainer takes Optional\[int\]"),
    ("+trainer.logger=true", r"trainer\.logger cannot be set: metrics always go to the ledger"),
    ("+trainer.limit_val_batches=2", r"trainer\.limit_val_batches cannot be set: recall is not defined on a part"),
    ("training.monitor=val/r1", r"training\.monitor: 'val/r1' is not a metric .*; allowed: val/mean_r1, val/rsum, "),
    ("+callbacks.early_stopping.foo=1", r"callbacks\.early_stopping\.foo: .*EarlyStopping takes no such argument"),
    ("+callbacks.mine._target_=torch.None", r"callbacks\.mine\._target_='torch\.None': there is no such class"),
    ("trainer.max_epochs=true", r"trainer\.max_epochs=true: Input should be a valid integer"),
    ("seed=1.0", r"seed=1\.0: Input should be a valid integer"),
    ("seed='1'", r"seed='1': Input should be a valid integer"),
    ("+callbacks.mine=1", r"callbacks\.mine=1: give the callback's class as callbacks\.mine\._target_="),
]


@pytest.mark.parametrize(("override", "message"), FAULTS, ids=[override for override, _ in FAULTS])
def test_fault_names_setting_value_and_allowed_values(override, message):
    with pytest.raises(ConfigError, match=rf"(?m){message}"):
        check_config(compose_config(override))


@pytest.mark.parametrize("override", ["trainer.max_time=00:01:00:00", "+trainer.inference_mode=false"])
def test_further_trainer_arguments_reach_the_settings(override):
    settings, _ = check_config(compose_config(override))
    name, _, value = override.lstrip("+").removeprefix("trainer.").partition("=")
    assert str(settings.trainer.model_extra[name]).lower() == value


def test_callbacks_with_a_null_argument_are_off():
    callbacks = {
        "on": {"_target_": "tangka_match.training.callbacks.EarlyStopping", "patience": 3},
        "off": {"_target_": "tangka_match.training.callbacks.EarlyStopping", "patience": None},
        "null_is_allowed": {"_target_": "pytorch_lightning.callbacks.Timer", "duration": None},
        "removed": None,
    }
    assert list(active_callbacks(callbacks)) == ["on", "null_is_allowed"]


def test_records_keep_interpolations_of_callbacks():
    _, plain = check_config(compose_config("training.monitor=val/rsum"))
    assert plain["callbacks"]["early_stopping"]["monitor"] == "${training.monitor}"


def test_contradicting_settings_are_both_named():
    with pytest.raises(ConfigError, match=r"precision='16-mixed' with accelerator='cpu': on a CPU use 32-true or bf16"):
        check_config(compose_config("trainer=cpu", "trainer.precision=16-mixed"))


def test_all_faults_are_listed():
    with pytest.raises(ConfigError) as caught:
        check_config(compose_config("seed=-1", "model.embed_dim=abc", "optimizer.lr=abc", "trainer.devices=2", "+a=1"))
    found = [line.strip().split(":")[0] for line in str(caught.value).splitlines()[1:]]
    assert found == ["a", "model.embed_dim='abc'", "optimizer.lr='abc'", "seed=-1", "trainer"]


def test_boolean_hides_no_other_fault():
    with pytest.raises(ConfigError) as caught:
        check_config(compose_config("trainer.max_epochs=true", "trainer.precision=fp8", "trainer.max_steps=abc"))
    found = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert [line.split("=")[0].split(":")[0] for line in found] == [
        "trainer.precision",
        "trainer.max_epochs",
        "trainer.max_steps",
    ]


ODD = [
    *("seed=1.0", "seed='1'", "seed=4294967295", "tags=a", "tags=[1]", "tags=[a]", "tags=[]"),
    *("name=1", "name=1.0", "name=a.b", "name=null", "paths.runs=1", "paths.runs='1'", "trainer.max_epochs='1'"),
]


@pytest.mark.parametrize("override", ODD)
def test_accepted_config_can_be_read_from_the_records(override):
    """Records are read without conversion: what is trained with must not look damaged afterwards."""
    try:
        _, plain = check_config(compose_config(override))
    except ConfigError:
        return
    CONFIG.validate_python(plain)


def test_null_of_a_callback_whose_arguments_cannot_be_known():
    with pytest.raises(ConfigError, match=r"callbacks\.x\._target_='builtins\.dict': its arguments cannot be known"):
        check_config(compose_config("+callbacks.x._target_=builtins.dict", "+callbacks.x.a=null"))


def test_settings_are_typed_and_config_is_plain():
    settings, plain = check_config(compose_config("trainer.max_epochs=3", "data.root=${paths.data}/mine"))
    assert settings.trainer.max_epochs == 3
    assert plain["data"]["root"] == "data/mine"
    assert type(plain["loss"]["margin"]) is list


def test_saved_config_passes_again():
    _, plain = check_config(compose_config())
    assert check_config(OmegaConf.create(plain))[1] == plain
