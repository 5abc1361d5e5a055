import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from helpers.configs import compose_config
from tangka_match.config.explain import explain
from tangka_match.errors import DataFormatError

WRONG_OVERRIDES = [
    ("model=vsee", "model=vsee: there is no conf/model/vsee.yaml. Did you mean vse? Allowed: bert_vse, bert_vse_inf"),
    ("+experiment=targetd", "experiment=targetd: there is no conf/experiment/targetd.yaml. Did you mean targeted?"),
    (
        "experiment=targeted",
        "experiment is not in the defaults list: write +experiment=<name>. Allowed: best, best_ensemble, best",
    ),
    ("data.batch_szie=4", "data.batch_szie: there is no such setting. Did you mean data.batch_size or data.eval_batch"),
    ("datta.batch_size=4", "datta.batch_size: there is no such setting. Did you mean data.batch_size"),
    ("margin=4", "margin: there is no such setting. Did you mean loss.margin?"),
    ("learning_rate=4", "learning_rate: there is no such setting. Did you mean optimizer.lr?"),
    ("qqqqq=4", "qqqqq: there is no such setting. All settings: python -m tangka_match.train --help"),
    ("sede=4", "sede: there is no such setting. Did you mean seed or"),
    (
        "model.margni=4",
        "model.margni: there is no such setting. Did you mean loss.margin? Known in model: aggregation, attention_dim",
    ),
    ("trainer.zzz=4", "trainer.zzz: there is no such setting. Known in trainer: accelerator, accumulate_grad_batches"),
    (
        "trainer.inference_mode=false",
        "trainer.inference_mode is not in conf/trainer: write +trainer.inference_mode=<value>",
    ),
    ("trainer.logger=true", "trainer.logger cannot be set: metrics always go to the ledger of the run folder"),
    ("~model.zzz", "model.zzz: there is no such setting. Known in model: aggregation, atten"),
    ("lr=1", "lr: there is no such setting. Did you mean optimizer.lr?"),
    ("epochs=1", "epochs: there is no such setting. Did you mean trainer.max_epochs?"),
    ("trainer.gpus=1", "trainer.gpus: there is no such setting. Did you mean trainer.devices?"),
    ("data.data_dir=x", "data.data_dir: there is no such setting. Did you mean data.root?"),
    ("ckpt_path=x", "ckpt_path: there is no such setting; continue a run with resume=<run id>, start from"),
    ("callbacks=rich", "callbacks=rich: there is no conf/callbacks/rich.yaml. Allowed: default, early_stopping"),
    ("hparams_search=x", "hparams_search: there is no such setting; search with -m hydra/sweeper=study"),
    ("data.root=/a=b", "data.root=/a=b: the value holds characters with a meaning to Hydra"),
    ("+seed=1", "+seed: the config has this setting already; write seed=<value> without +"),
    ("seed=range(1,3)", "seed=range(1,3): several values need -m"),
    (
        "model.reasoning=saf",
        "model.reasoning: the chosen model has no such setting; leave it out, or choose one that has it",
    ),
    ("foo", "foo: cannot be read as a setting; write name=value"),
    (
        "data.batch_size=[1",
        "data.batch_size=[1: cannot be read as a setting; write name=value, and lists as 'name=[a,b]'",
    ),
]


@pytest.mark.parametrize(("override", "message"), WRONG_OVERRIDES, ids=[override for override, _ in WRONG_OVERRIDES])
def test_wrong_override_is_named_with_a_suggestion(override, message):
    with pytest.raises((HydraException, OmegaConfBaseException)) as caught:
        compose_config(override)
    assert explain(caught.value, "config").startswith(message)


def test_missing_value_names_the_setting():
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.to_container(compose_config("data=precomp"), throw_on_missing=True)
    assert explain(caught.value, "config") == "data.root is not set: add data.root=<value> to the command"


def test_interpolation_of_a_missing_value_names_the_missing_setting():
    with pytest.raises(OmegaConfBaseException) as caught:
        compose = compose_config("model=bert_vse", "data/tokenizer=pieces")
        OmegaConf.to_container(compose, resolve=True, throw_on_missing=True)
    assert explain(caught.value, "config").startswith("model.text_model is not set")


def test_interpolation_of_an_unknown_key_names_the_key():
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.to_container(compose_config("name=${nothing}"), resolve=True)
    assert explain(caught.value, "config") == "Interpolation key 'nothing' not found"


def test_traceback_of_a_data_loading_process_is_removed():
    message = "train_ims.npy: row 5: NaN\ntangka: twice"
    wrapped = (
        "Caught DataFormatError in DataLoader worker process 1.\nOriginal Traceback (most recent call last):\n"
        f'  File "region_mask.py", line 60\ntangka_match.errors.DataFormatError: {message}'
    )
    assert explain(DataFormatError(wrapped), "config") == message
