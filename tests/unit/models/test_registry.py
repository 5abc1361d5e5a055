import pytest

from helpers.registries import empty_registry
from helpers.small_matchers import DATA
from tangka_match import models
from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.models.registry import build_matcher, check_loadable, list_models
from tangka_match.registry import register_loss, register_matcher
from tangka_match.types import Matcher


class Mine(models.VSE):
    """A matcher of another package."""


@pytest.fixture
def _registered():
    with empty_registry():
        register_matcher("mine", Mine)
        register_loss("a_loss", dict)
        yield


NEEDED = {"SCAN": {"direction": "t2i", "smooth": 9.0}}
PRETRAINED = {"ChineseCLIP", "PretrainedCCA", "PretrainedText"}  # tested in files of their own


@pytest.mark.parametrize("name", sorted({*models.__all__} - PRETRAINED))
def test_builds_all_exported_matchers(name):
    spec = {"_target_": f"tangka_match.models.{name}", "embed_dim": 8, **NEEDED.get(name, {})}
    model = build_matcher(spec, **DATA)
    assert type(model).__name__ == name
    assert isinstance(model, Matcher)


def test_passes_arguments_to_the_matcher():
    spec = {"_target_": "tangka_match.models.SGRAF", "reasoning": "saf", "embed_dim": 8, "sim_dim": 4}
    model = build_matcher(spec, **DATA)
    assert model.sim_enc.SAF_module.attn_sim_w.weight.shape == (1, 4)
    assert model.img_enc.fc.weight.shape == (8, 10)


@pytest.mark.parametrize("target", ["os.system", "tangka_match.models.registry.build_matcher", "SGRAF", None, ["x"]])
def test_refused_targets(target):
    with pytest.raises(CheckpointError) as error:
        build_matcher({"_target_": target}, **DATA)
    assert repr(target) in str(error.value)
    assert "allowed are tangka_match.models.CCA, tangka_match.models.ChineseCLIP" in str(error.value)


@pytest.mark.parametrize("name", ["embed_dimm", "vocab_size"])
def test_unknown_argument(name):
    with pytest.raises(CheckpointError, match=rf"models\.VSE unknown arguments \['{name}'\]; it knows .*'embed_dim'"):
        build_matcher({"_target_": "tangka_match.models.VSE", name: 8}, **DATA)


def test_impossible_value():
    with pytest.raises(CheckpointError, match="impossible model: VSE: embed_dim is 0"):
        build_matcher({"_target_": "tangka_match.models.VSE", "embed_dim": 0}, **DATA)


def test_missing_argument(monkeypatch):
    def strict(*, vocab_size: int, feature_dim: int, num_regions: int, width: int) -> None:
        raise AssertionError("must not be called")

    monkeypatch.setattr(models, "VSE", strict)
    with pytest.raises(CheckpointError, match=r"does not give tangka_match.models.VSE the arguments \['width'\]"):
        build_matcher({"_target_": "tangka_match.models.VSE"}, **DATA)


@pytest.mark.usefixtures("_registered")
def test_registered_matcher_is_listed_and_built():
    assert list_models()[-2:] == ["tangka_match.models.VSEPlusPlus", "mine"]
    assert isinstance(build_matcher({"_target_": "mine", "embed_dim": 8}, **DATA), Mine)
    check_loadable("mine")
    check_loadable("tangka_match.models.VSE")


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("target", [f"{Mine.__module__}.Mine", "a_loss", "tangka_match.models.vse.VSE", "nothing"])
def test_refuses_paths_and_names_of_other_kinds(target):
    with pytest.raises(
        CheckpointError, match=r"names the model .*; allowed are .*tangka_match\.models\.VSEPlusPlus, mine\. A"
    ):
        build_matcher({"_target_": target}, **DATA)
    with pytest.raises(ConfigError, match=r"nothing could load its checkpoints: decorate the class with @tangka_match"):
        check_loadable(target)
