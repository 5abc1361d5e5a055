import pytest

from helpers.configs import compose_config
from tangka_match.config.command_settings import check_settings
from tangka_match.config.comparison import ComparisonSettings
from tangka_match.config.diagnosis import DiagnosisSettings
from tangka_match.config.evaluation import EvaluationSettings
from tangka_match.errors import ConfigError

EVALUATE = ("evaluate", EvaluationSettings, ("checkpoint=a.ckpt", "data.root=set", "out=out"))
DIAGNOSE = ("diagnose", DiagnosisSettings, ("data.root=set", "out=out"))
COMPARE = ("compare", ComparisonSettings, ("a=one", "b=two"))
FAULTS = [
    (EVALUATE, "checkpoint=", r"checkpoint is empty: write checkpoint=<value>"),
    (EVALUATE, "checkpoint=[]", r"checkpoint=\[\]: Value should have at least 1 item"),
    (EVALUATE, "checkpoint=[a.ckpt,'']", r"checkpoint is empty"),
    (EVALUATE, "data.root=", r"data\.root is empty: write data\.root=<folder of the data set>"),
    (EVALUATE, "~protocol", r"protocol is missing: its default was taken out"),
    (EVALUATE, "+protocol.fold=5", r"protocol\.fold: there is no such setting\. Did you mean folds\?"),
    (EVALUATE, "+near_duplicates.treshold=5", r"near_duplicates\.treshold: .* Did you mean threshold\?"),
    (DIAGNOSE, "run=", r"run is empty: write run=<value>, or leave it out"),
    (DIAGNOSE, "+curve.seed=5", r"curve\.seed: there is no such setting\. Did you mean seeds\?"),
    (DIAGNOSE, "+lerning_curve=true", r"lerning_curve: there is no such setting\. Did you mean learning_curve\?"),
    (COMPARE, "a=", r"a is empty: write a=<value>"),
    (COMPARE, "+sead=5", r"sead: there is no such setting\. Did you mean seed\?"),
]


@pytest.mark.parametrize(("command", "override", "message"), FAULTS, ids=[override for _, override, _ in FAULTS])
def test_a_fault_names_the_setting(command, override, message):
    name, kind, words = command
    beside = ("paths", "debug") if name == "compare" else ("data", "paths", "debug")
    with pytest.raises(ConfigError, match=message):
        check_settings(compose_config(*words, override, config_name=name), kind, beside)


@pytest.mark.parametrize("command", [EVALUATE, DIAGNOSE, COMPARE], ids=["evaluate", "diagnose", "compare"])
def test_what_is_right_comes_back_typed(command):
    name, kind, words = command
    assert isinstance(check_settings(compose_config(*words, config_name=name), kind), kind)
