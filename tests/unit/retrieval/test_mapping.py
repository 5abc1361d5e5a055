import argparse
from pathlib import Path

import pytest
import torch

from tangka_match.convert import read_mapping
from tangka_match.errors import CheckpointError
from tangka_match.models.registry import list_models
from tangka_match.retrieval.mapping import WeightMapping, fitting_mappings, read_options, shipped_mappings

SOURCE = Path("their.pth")


def mapping(**changes):
    fields = {"model": {"_target_": "x"}, "weights": {"fc.*": "img.*"}, "num_regions": 3, "feature_dim": 8}
    return WeightMapping(**(fields | changes))


def test_options_become_arguments():
    rules = {"feature_dim": "img_dim", "smooth": "lambda", "aggregation": {"agg": {"Mean": "mean"}}}
    content = {"opt": argparse.Namespace(img_dim=2048, agg="Mean", **{"lambda": 9.0})}
    found = mapping(options=rules, feature_dim=None).arguments(SOURCE, content)
    assert found["model"] == {"_target_": "x", "smooth": 9.0, "aggregation": "mean"}
    assert (found["num_regions"], found["feature_dim"]) == (3, 2048)


@pytest.mark.parametrize("options", [argparse.Namespace(a=1), {"a": 1}])
def test_options_may_be_a_namespace_or_a_dictionary(options):
    assert read_options({"opt": options}) == {"a": 1}


@pytest.mark.parametrize("content", [{}, {"opt": None}, [1], {"opt": "text"}])
def test_no_options(content):
    assert read_options(content) == {}


def test_exception_all_faults_are_listed():
    rules = {"smooth": "gone", "aggregation": {"agg": {"Mean": "mean"}}}
    own = mapping(options=rules, required={"norm": True, "lost": 1}, num_regions=None)
    with pytest.raises(CheckpointError) as caught:
        own.arguments(SOURCE, {"opt": {"agg": "Max", "norm": False}})
    assert str(caught.value).splitlines() == [
        "their.pth: the mapping does not fit the options of the checkpoint:",
        "  opt.norm is False; the mapping is for True",
        "  opt.lost is missing; the mapping is for 1",
        "  opt.gone is missing; write the value of smooth into the mapping instead",
        "  opt.agg is 'Max'; the mapping knows Mean",
        "  num_regions is missing: set it, or name its option under options",
    ]


def test_only_mappings_that_name_all_weights_fit():
    content = {"model_state_dict": {"fc.weight": torch.zeros(1)}, "opt": {"a": 2}}
    mappings = {
        "fits": mapping(),
        "other option": mapping(required={"a": 1}),
        "too few": mapping(weights={"rnn.*": "x.*"}),
        "elsewhere": mapping(state="net"),
    }
    assert fitting_mappings(content, mappings) == {"fits": [], "other option": ["opt.a is 2; the mapping is for 1"]}


@pytest.mark.parametrize("name", ["scan_i2t", "scan_t2i", "vse_infinity", "vse_plus_plus"])
def test_shipped_mapping_is_valid(name):
    assert read_mapping(shipped_mappings()[name]).model["_target_"] in list_models()
