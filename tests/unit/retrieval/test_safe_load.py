import argparse
import shutil
import sys
import tarfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from helpers.bad_input import Bomb
from helpers.old_torch_files import save_legacy
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


@pytest.mark.parametrize("python", [2, 3])
def test_legacy_file_with_options_and_a_pickled_class(python, tmp_path, foreign_class):
    options = argparse.Namespace(embed_size=1024, vocab_path="./vocab/")
    content = {"model": [OrderedDict(fc=torch.arange(3.0))], "opt": options, "config": foreign_class(), "epoch": 3}
    save_legacy(content, tmp_path / "old.pth.tar", python=python)
    del sys.modules["their_config"]
    found, replaced = load_with_stand_ins(tmp_path / "old.pth.tar")
    assert torch.equal(found["model"][0]["fc"], torch.arange(3.0))
    assert vars(found["opt"]) == {"embed_size": 1024, "vocab_path": "./vocab/"}
    assert isinstance(found["config"], StandIn)
    assert replaced == ["their_config.Config"]
    assert "their_config" not in sys.modules


def test_python_2_file_holds_byte_strings(tmp_path):
    save_legacy({"weights": torch.ones(1)}, tmp_path / "old.pth", python=2)
    assert b"U\x07weights" in (tmp_path / "old.pth").read_bytes()


def test_legacy_file_of_python_2_with_bytes_that_are_no_utf_8(tmp_path):
    save_legacy({"weights": torch.ones(1), "note": "________"}, tmp_path / "old.pth", python=2)
    content = (tmp_path / "old.pth").read_bytes()
    (tmp_path / "old.pth").write_bytes(content.replace(b"________", b"\xff\xfe______"))
    assert torch.equal(load_with_stand_ins(tmp_path / "old.pth")[0]["weights"], torch.ones(1))


@pytest.mark.parametrize("load", [load_weights, load_with_stand_ins])
def test_malicious_legacy_file_is_refused_without_running_it(load, tmp_path):
    save_legacy({"model": Bomb(tmp_path / "ran")}, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match=r"old.pth: refused.*asks for (posix|os)\.mkdir.*nothing in it was run"):
        load(tmp_path / "old.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_legacy_file_is_refused(share, tmp_path):
    save_legacy({"w": torch.ones(100)}, tmp_path / "old.pth")
    whole = (tmp_path / "old.pth").read_bytes()
    (tmp_path / "old.pth").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"old.pth: damaged or half-written"):
        load_with_stand_ins(tmp_path / "old.pth")


def test_tar_archive_is_named(tmp_path):
    torch.save({"w": torch.ones(1)}, tmp_path / "model.pth")
    with tarfile.open(tmp_path / "model.tar", "w") as archive:
        archive.add(tmp_path / "model.pth", "model.pth")
    with pytest.raises(CheckpointError, match=r"model.tar: a tar archive.*unpack it"):
        load_with_stand_ins(tmp_path / "model.tar")


def test_default_dictionary_becomes_plain(tmp_path):
    """Lightning and its loggers store them; the unpickler assigns items to plain dictionaries only."""
    content = {"state_dict": {"w": torch.ones(1)}, "counts": defaultdict(list, {"a": [1]})}
    torch.save(content, tmp_path / "file.ckpt")
    found, _ = load_with_stand_ins(tmp_path / "file.ckpt")
    assert found["counts"] == {"a": [1]}
