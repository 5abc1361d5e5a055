import pytest

from helpers.registries import empty_registry
from helpers.stub_matchers import PooledMatcher
from tangka_match.config.arguments import argument_faults, with_import_paths, with_registered_names
from tangka_match.registry import register_matcher

VSE = {"_target_": "tangka_match.models.VSE"}
DATA = {"_target_": "tangka_match.data.datamodule.RegionTextDataModule", "root": "somewhere"}
ADAMW = {"_target_": "torch.optim.AdamW"}
COSINE = {"_target_": "tangka_match.training.optimisation.warmup_cosine", "warmup_steps": 5, "final_ratio": 0.1}
TOKENIZER = {"_target_": "tangka_match.data.tokenizer.JiebaTokenizer"}
LATER = {"vocab_size", "feature_dim", "params", "optimizer", "total_steps"}

GOOD = [
    VSE | {"dropout": 0.1, "smooth": 9},
    DATA | {"tokenizer": TOKENIZER, "vocabulary_path": None, "expected_counts": {"train": [1, 2]}},
    ADAMW | {"_partial_": True, "lr": 1, "betas": [0.9, 0.99]},
    COSINE,
    {"_target_": "tangka_match.losses.CurriculumLoss", "margin": [0.1, 0.2], "hard_negatives": 1},
    {"_target_": "torch.optim.lr_scheduler.CyclicLR", "base_lr": 0.1, "max_lr": 1},  # with names for type checkers
    {"_target_": "pytorch_lightning.callbacks.RichProgressBar", "theme": {}},  # a dataclass
]
PARTS = {"nce": {"_target_": "tangka_match.losses.InfoNCELoss"}, "hal": {"_target_": "tangka_match.losses.HALLoss"}}
BLEND = {"_target_": "tangka_match.losses.BlendLoss", "parts": PARTS, "weights": {"nce": 1, "hal": [0, 1.0]}}
BAD = [
    (
        BLEND | {"parts": PARTS | {"hal": PARTS["hal"] | {"gama": 3}}},
        "part.parts.hal.gama: tangka_match.losses.HALLoss takes no such argument. Did you mean gamma?",
    ),
    (
        BLEND | {"weights": {"nce": "much"}},
        "part.weights={'nce': 'much'}: tangka_match.losses.BlendLoss takes Mapping[str, float | int | "
        "Sequence[float | int]]",
    ),
    (VSE | {"drpout": 0.1}, "part.drpout: tangka_match.models.VSE takes no such argument. Did you mean dropout?"),
    (VSE | {"embed_dim": "64"}, "part.embed_dim='64': tangka_match.models.VSE takes int"),
    (VSE | {"embed_dim": 0.5}, "part.embed_dim=0.5: tangka_match.models.VSE takes int"),
    (VSE | {"embed_dim": None}, "part.embed_dim=None: tangka_match.models.VSE takes int"),
    (ADAMW | {"lr": "abc"}, "part.lr='abc': torch.optim.AdamW takes float | Tensor"),
    (
        ADAMW | {"betas": [0.9]},
        "part.betas=[0.9]: torch.optim.AdamW takes tuple[float | Tensor, float | Tensor]",
    ),
    (
        {"_target_": DATA["_target_"]},
        "part.root: tangka_match.data.datamodule.RegionTextDataModule needs it, and it is not set",
    ),
    (
        DATA | {"tokenizer": TOKENIZER | {"hmmm": True}},
        "part.tokenizer.hmmm: tangka_match.data.tokenizer.JiebaTokenizer takes no such argument. Did you mean hmm?",
    ),
    (
        {"_target_": "torch.optim.AdmW"},
        "part._target_='torch.optim.AdmW': there is no such class or function. Did you mean AdamW or Adam?",
    ),
    (
        {"_target_": "torch.opt.Adam"},
        "part._target_='torch.opt.Adam': cannot be imported (No module named 'torch.opt')",
    ),
    ({"_target_": "math.pi"}, "part._target_='math.pi': there is no such class or function."),
    ({}, "part._target_='': there is no such class or function."),
]


@pytest.mark.parametrize("node", GOOD, ids=lambda node: node["_target_"])
def test_valid_nodes_have_no_fault(node):
    assert argument_faults("part", node, LATER) == []


@pytest.mark.parametrize(("node", "message"), BAD, ids=[message.split(":")[0] for _, message in BAD])
def test_faults_name_setting_value_and_expected_type(node, message):
    faults = argument_faults("part", node, LATER)
    assert faults == [message]


def test_dict_of_targets_is_checked():
    assert argument_faults("loss", BLEND, set()) == []


def test_all_faults_of_a_node_are_listed():
    faults = argument_faults("model", VSE | {"dropout": "a", "smooth": "b", "c": 1}, LATER)
    assert [fault.split(":")[0] for fault in faults] == ["model.c", "model.smooth='b'", "model.dropout='a'"]


def test_arguments_filled_later_are_not_suggested():
    (fault,) = argument_faults("model", VSE | {"feature_dm": 3}, LATER)
    assert "feature_dim" not in fault


PATH = "helpers.stub_matchers.PooledMatcher"


@pytest.fixture
def _registered():
    with empty_registry():
        register_matcher("pooled", PooledMatcher)
        yield


@pytest.mark.usefixtures("_registered")
def test_registered_name_is_checked():
    assert argument_faults("model", {"_target_": "pooled", "dim": 3}, LATER) == []
    assert argument_faults("model", {"_target_": "pooled", "dm": 3}, LATER) == [
        "model.dm: pooled takes no such argument. Did you mean dim?"
    ]
    assert argument_faults("model", {"_target_": "poled"}, LATER) == [
        "model._target_='poled': there is no such class or function. Did you mean pooled?"
    ]


@pytest.mark.usefixtures("_registered")
def test_registered_names_replace_import_paths_and_back():
    node = {"a": [{"_target_": PATH, "dim": 3}], "b": {"_target_": "torch.optim.Adam"}, "c": {"_target_": "no.such"}}
    named = with_registered_names(node)
    assert named == node | {"a": [{"_target_": "pooled", "dim": 3}]}
    assert with_registered_names(named) == named
    assert with_import_paths(named) == node
