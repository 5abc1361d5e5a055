import pickle
from pathlib import Path

import pytest
import torch

from tangka_match.errors import CheckpointError
from tangka_match.retrieval.metadata import (
    METADATA_FORMAT,
    METADATA_KEY,
    check_metadata,
    make_metadata,
    read_checkpoint,
)


class Malicious:
    """Object that creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def metadata(**changed):
    settings = {
        "name": "targeted",
        "run_id": "20261124-034512-3fa9c1-7be2",
        "model": {"_target_": "tangka_match.models.VSE", "embed_dim": 1024},
        "vocabulary": {"word2idx": {"<pad>": 0}, "idx2word": {"0": "<pad>"}, "idx": 1},
        "vocabulary_fingerprint": "v1",
        "tokenizer": {"name": "jieba", "version": "0.42.1"},
        "max_tokens": 80,
        "num_regions": 36,
        "feature_dim": 2048,
        "data_fingerprint": "d1",
    }
    return make_metadata(**(settings | changed))


@pytest.fixture
def path(tmp_path):
    torch.save({"state_dict": {"w": torch.ones(500)}, METADATA_KEY: metadata()}, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


def test_written_checkpoint_is_read_back(path):
    checkpoint = read_checkpoint(path)
    assert checkpoint[METADATA_KEY] == metadata()
    assert checkpoint[METADATA_KEY]["format"] == METADATA_FORMAT
    assert torch.equal(checkpoint["state_dict"]["w"], torch.ones(500))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.ckpt: no such checkpoint"):
        read_checkpoint(tmp_path / "none.ckpt")


def test_malicious_zip_is_refused_without_running_it(tmp_path):
    torch.save({"state_dict": Malicious(tmp_path / "ran"), METADATA_KEY: metadata()}, tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match=r"best\.ckpt: refused.*nothing in it was run"):
        read_checkpoint(tmp_path / "best.ckpt")
    assert not (tmp_path / "ran").exists()


def test_malicious_pickle_is_refused_without_running_it(tmp_path):
    (tmp_path / "best.ckpt").write_bytes(pickle.dumps({METADATA_KEY: Malicious(tmp_path / "ran")}, protocol=2))
    with pytest.raises(CheckpointError, match=r"best\.ckpt: refused.*nothing in it was run"):
        read_checkpoint(tmp_path / "best.ckpt")
    assert not (tmp_path / "ran").exists()


def test_malicious_object_runs_when_unpickled(tmp_path):
    """Check that the object used in the two tests above is malicious."""
    pickle.loads(pickle.dumps(Malicious(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.5, 0.9, 0.999])
def test_truncated_file_is_refused_with_its_size(path, share):
    whole = path.read_bytes()
    kept = int(share * len(whole))
    path.write_bytes(whole[:kept])
    with pytest.raises(
        CheckpointError, match=rf"best\.ckpt: damaged or half-written, {kept:,} bytes .*use the other of best\.ckpt"
    ):
        read_checkpoint(path)


def test_text_file_is_refused(path):
    path.write_text("唐卡\n" * 100, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"best\.ckpt"):
        read_checkpoint(path)


def test_changed_byte_in_the_weights_is_refused(path):
    content = bytearray(path.read_bytes())
    content[content.index(torch.ones(4).numpy().tobytes())] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best\.ckpt: damaged.*the checksum of best/data/0 is wrong"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {METADATA_KEY: "yes"}])
def test_checkpoint_of_another_project_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other\.ckpt: not a checkpoint of tangka_match.*'tangka_match' entry"):
        read_checkpoint(tmp_path / "other.ckpt")


@pytest.mark.parametrize("found", [2, None])
def test_other_format_is_refused(tmp_path, found):
    torch.save({METADATA_KEY: metadata() | {"format": found}}, tmp_path / "new.ckpt")
    with pytest.raises(CheckpointError, match=rf"new\.ckpt: format {found}, but this version reads format 1"):
        read_checkpoint(tmp_path / "new.ckpt")


def test_name_and_run_id_are_not_compared():
    other = {"name": "elsewhere", "run_id": "elsewhere"}
    assert metadata(**other) != metadata()
    check_metadata(Path("last.ckpt"), metadata(**other), metadata())
    with pytest.raises(CheckpointError) as refused:
        check_metadata(Path("last.ckpt"), metadata(**other, max_tokens=40), metadata())
    assert "elsewhere" not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_regions": 10}, "num_regions: 10 in the checkpoint, 36 here"),
        ({"feature_dim": 1024}, "feature_dim: 1024 in the checkpoint, 2048 here"),
        ({"vocabulary_fingerprint": "v2"}, "vocabulary_fingerprint: 'v2' in the checkpoint, 'v1' here"),
        ({"max_tokens": 40}, "max_tokens: 40 in the checkpoint, 80 here"),
        ({"data_fingerprint": "d2"}, "data_fingerprint: 'd2' in the checkpoint, 'd1' here"),
        ({"tokenizer": {"name": "jieba"}}, "tokenizer.version: None in the checkpoint, '0.42.1' here"),
        ({"model": {"_target_": "tangka_match.models.VSE", "embed_dim": 8}}, "model.embed_dim: 8 in the checkpoint"),
    ],
)
def test_difference_is_named_with_both_values(changed, message):
    with pytest.raises(CheckpointError) as refused:
        check_metadata(Path("last.ckpt"), metadata(**changed), metadata())
    assert str(refused.value).startswith("last.ckpt belongs to another model, vocabulary or data set:\n")
    assert message in str(refused.value)
    assert str(refused.value).count("in the checkpoint") == 1


def test_all_differences_are_listed():
    found = metadata(num_regions=10, data_fingerprint="d2", model={"_target_": "SGRAF", "dropout": 0.1})
    with pytest.raises(CheckpointError) as refused:
        check_metadata(Path("last.ckpt"), found, metadata())
    lines = [line.strip().split(":")[0] for line in str(refused.value).splitlines()[1:-1]]
    assert lines == ["num_regions", "data_fingerprint", "model._target_", "model.dropout", "model.embed_dim"]
    assert "model.dropout: 0.1 in the checkpoint, None here" in str(refused.value)
    assert "model.embed_dim: None in the checkpoint, 1024 here" in str(refused.value)
