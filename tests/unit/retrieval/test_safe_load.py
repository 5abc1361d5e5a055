import shutil
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from helpers.bad_input import Bomb
from tangka_match.errors import CheckpointError
from tangka_match.retrieval.safe_load import StandIn, load_weights, load_with_stand_ins


class Copier:
    """Copies this file when unpickled, by a function that torch does not block."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return shutil.copyfile, (__file__, str(self.mark))


class Toucher:
    """Creates a file when unpickled, by calling the result of another call."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def foreign_class():
    """Return a class whose module cannot be imported when the file is loaded, such as a user's ``config.Config``."""
    module = ModuleType("their_config")
    module.Config = type("Config", (), {"__module__": "their_config"})
    sys.modules["their_config"] = module
    yield module.Config
    sys.modules.pop("their_config", None)


def test_weights_beside_a_pickled_class_are_loaded(tmp_path, foreign_class):
    weights = OrderedDict(fc=torch.arange(3.0))
    config = foreign_class()
    config.lr = 0.1
    content = {"model_state_dict": weights, "config": config, "best": np.float64(0.5), "epoch": 3}
    torch.save(content, tmp_path / "best_model.pth")
    del sys.modules["their_config"]
    found, replaced = load_with_stand_ins(tmp_path / "best_model.pth")
    assert torch.equal(found["model_state_dict"]["fc"], torch.arange(3.0))
    assert found["epoch"] == 3
    assert isinstance(found["config"], StandIn)
    assert "their_config.Config" in replaced
    assert "their_config" not in sys.modules


def test_call_requested_by_the_file_is_not_made(tmp_path):
    torch.save({"model_state_dict": {"w": torch.ones(1)}, "x": Copier(tmp_path / "ran")}, tmp_path / "file.pth")
    found, replaced = load_with_stand_ins(tmp_path / "file.pth")
    assert not (tmp_path / "ran").exists()
    assert replaced == ["shutil.copyfile"]
    assert torch.equal(found["model_state_dict"]["w"], torch.ones(1))


def test_call_of_a_stand_in_result_is_refused(tmp_path):
    torch.save({"x": Toucher(tmp_path / "ran")}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="objects that only a call could make"):
        load_with_stand_ins(tmp_path / "file.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("load", [load_weights, load_with_stand_ins])
def test_malicious_file_is_refused_without_running_it(load, tmp_path):
    torch.save({"model": Bomb(tmp_path / "ran")}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match=r"file.pth: refused.*asks for (posix|os)\.mkdir.*nothing in it was run"):
        load(tmp_path / "file.pth")
    assert not (tmp_path / "ran").exists()


def test_class_that_is_not_allowed_is_refused(tmp_path):
    torch.save({"path": Path("x")}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="asks for pathlib"):
        load_weights(tmp_path / "file.pth")


@pytest.mark.parametrize("load", [load_weights, load_with_stand_ins])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
def test_truncated_file_is_refused(load, share, tmp_path):
    torch.save({"w": torch.ones(100)}, tmp_path / "file.pth")
    whole = (tmp_path / "file.pth").read_bytes()
    (tmp_path / "file.pth").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"file.pth: (damaged or half-written|refused)"):
        load(tmp_path / "file.pth")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere: no such checkpoint file"):
        load_weights(tmp_path / "nowhere")


def test_legacy_format_is_loaded(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found, replaced = load_with_stand_ins(tmp_path / "old.pth")
    assert torch.equal(found["w"], torch.ones(2))
    assert replaced == []
