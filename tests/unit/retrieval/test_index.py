import shutil

import numpy as np
import pytest
import torch

from helpers.precomp import write_precomp
from helpers.small_search import MODELS, load_model, write_split
from tangka_match import Index
from tangka_match.data.split import load_split
from tangka_match.errors import CheckpointError, ConfigError, DataFormatError
from tangka_match.retrieval import index as index_module
from tangka_match.retrieval.index_files import Manifest
from tangka_match.retrieval.trained_matcher import TrainedMatcher


@pytest.fixture
def encoded(monkeypatch):
    """Count the images that are encoded."""
    counted = []
    original = TrainedMatcher.encode_image_blocks

    def counting(self, split, start=0):
        for rows, block in original(self, split, start):
            counted.append(len(rows.image_index))
            yield rows, block

    monkeypatch.setattr(TrainedMatcher, "encode_image_blocks", counting)
    return counted


def assert_equals_split(index, matcher, split):
    """Assert that an index holds what the model computes for the split."""
    assert index.image_ids == split.image_ids
    images, _ = matcher.encode_split(split)
    for part in ("pooled", "tokens", "mask"):
        expected, found = getattr(images, part), getattr(index.encoded, part)
        assert (expected is None) == (found is None)
        if expected is not None:
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_index_holds_the_encoded_images(tmp_path, name):
    split = write_split(tmp_path / "data", padded=1)
    matcher = load_model(tmp_path / "a.ckpt", split, name)
    Index.build(matcher, split, tmp_path / "index")
    assert_equals_split(Index.open(tmp_path / "index"), matcher, split)


def test_unchanged_images_are_not_encoded_again(tmp_path, encoded):
    split = write_split(tmp_path / "data")
    matcher = load_model(tmp_path / "a.ckpt", split)
    Index.build(matcher, split, tmp_path / "index")
    assert sum(encoded) == 30
    # A copy of the data has another time of change, so that the hashes are compared.
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    Index.build(matcher, load_split(tmp_path / "copy", "test"), tmp_path / "index")
    assert sum(encoded) == 30


def test_added_images_extend_the_index(tmp_path, encoded):
    few, many = write_split(tmp_path / "few", images=13), write_split(tmp_path / "many", images=30)
    features = np.load(tmp_path / "many" / "test_ims.npy")
    np.save(tmp_path / "few" / "test_ims.npy", features[:13])
    few = load_split(tmp_path / "few", "test")
    matcher = load_model(tmp_path / "a.ckpt", many)
    Index.build(matcher, few, tmp_path / "index")
    index = Index.build(matcher, many, tmp_path / "index")
    assert sum(encoded) == 30
    assert_equals_split(index, matcher, many)


def test_changed_features_rebuild_the_index(tmp_path, encoded):
    split = write_split(tmp_path / "data")
    matcher = load_model(tmp_path / "a.ckpt", split)
    Index.build(matcher, split, tmp_path / "index")
    features = np.load(tmp_path / "data" / "test_ims.npy")
    features[17] *= -1
    np.save(tmp_path / "data" / "test_ims.npy", features)
    changed = load_split(tmp_path / "data", "test")
    assert_equals_split(Index.build(matcher, changed, tmp_path / "index"), matcher, changed)
    assert sum(encoded) == 60


def test_other_weights_rebuild_the_index(tmp_path, encoded):
    split = write_split(tmp_path / "data")
    Index.build(load_model(tmp_path / "a.ckpt", split), split, tmp_path / "index")
    other = load_model(tmp_path / "b.ckpt", split)
    with torch.no_grad():
        next(other.matcher.parameters()).mul_(2)
    assert_equals_split(Index.build(other, split, tmp_path / "index"), other, split)
    assert sum(encoded) == 60


@pytest.mark.parametrize("blocks", [0, 1, 2])
@pytest.mark.parametrize("debris", [b"", b"half a row"])
def test_killed_build_goes_on(tmp_path, monkeypatch, encoded, blocks, debris):
    """The process dies while it appends a block: some files have grown, the manifest has not."""
    split = write_split(tmp_path / "data")
    matcher = load_model(tmp_path / "a.ckpt", split, "vse")
    append, done = index_module.append_rows, []

    def dying(folder, manifest, *rest):
        if len(done) == blocks:
            with manifest.path(folder, "tokens").open("ab") as file:
                file.write(debris)
            raise KeyboardInterrupt
        done.append(1)
        return append(folder, manifest, *rest)

    monkeypatch.setattr(index_module, "append_rows", dying)
    with pytest.raises(KeyboardInterrupt):
        Index.build(matcher, split, tmp_path / "index")
    monkeypatch.setattr(index_module, "append_rows", append)
    encoded.clear()
    assert_equals_split(Index.build(matcher, split, tmp_path / "index"), matcher, split)
    assert sum(encoded) == 30 - 8 * blocks


@pytest.mark.parametrize("content", ["", "{}", '{"format": 99, "index": {}}', "\x00"])
def test_damaged_manifest_rebuilds(tmp_path, content):
    split = write_split(tmp_path / "data")
    matcher = load_model(tmp_path / "a.ckpt", split)
    Index.build(matcher, split, tmp_path / "index")
    (tmp_path / "index" / "manifest.json").write_text(content)
    with pytest.raises(ConfigError, match=r"no index \(no readable manifest\.json\)"):
        Index.open(tmp_path / "index")
    assert_equals_split(Index.build(matcher, split, tmp_path / "index"), matcher, split)


def test_missing_rows_are_noticed(tmp_path):
    split = write_split(tmp_path / "data")
    matcher = load_model(tmp_path / "a.ckpt", split)
    Index.build(matcher, split, tmp_path / "index")
    path = Manifest.read(tmp_path / "index").path(tmp_path / "index", "pooled")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ConfigError, match=r"956 bytes, but .* needs 960"):
        Index.open(tmp_path / "index")
    assert_equals_split(Index.build(matcher, split, tmp_path / "index"), matcher, split)


def test_open_index_survives_a_rebuild(tmp_path):
    split = write_split(tmp_path / "data")
    first = Index.build(load_model(tmp_path / "a.ckpt", split), split, tmp_path / "index")
    before = first.vectors.copy()
    other = load_model(tmp_path / "b.ckpt", split, "vse")
    Index.build(other, split, tmp_path / "index")
    assert np.array_equal(first.vectors, before)
    generations = {path.name.partition("-")[2] for path in (tmp_path / "index").glob("*.bin")}
    assert len(generations) == 1


def test_add_appends_images_with_new_ids_once(tmp_path):
    split = write_split(tmp_path / "data", images=10)
    write_precomp(tmp_path / "more", "val", images=5, captions_per_image=2, ids="image", seed=3)
    more = load_split(tmp_path / "more", "val")
    matcher = load_model(tmp_path / "a.ckpt", split)
    index = Index.build(matcher, split, tmp_path / "index")
    assert (index.add(matcher, more), index.add(matcher, more), len(index)) == (5, 0, 15)
    assert index.image_ids == (*split.image_ids, *more.image_ids)
    torch.testing.assert_close(index.encoded.pooled[10:], matcher.encode_split(more)[0].pooled)
    assert len(Index.open(tmp_path / "index")) == 15


def test_add_refuses_another_model(tmp_path):
    split = write_split(tmp_path / "data")
    index = Index.build(load_model(tmp_path / "a.ckpt", split), split, tmp_path / "index")
    with pytest.raises(CheckpointError, match="another model built this index"):
        index.add(load_model(tmp_path / "b.ckpt", split, "vse"), split)


def test_add_refuses_more_regions(tmp_path):
    split = write_split(tmp_path / "data", regions=3)
    matcher = load_model(tmp_path / "a.ckpt", split, "vse")
    index = Index.build(matcher, split, tmp_path / "index")
    write_precomp(tmp_path / "more", "val", images=5, regions=4, ids="image")
    with pytest.raises(DataFormatError, match=r"4 regions per image, but the index .* was built with 3"):
        index.add(matcher, load_split(tmp_path / "more", "val"))


def test_other_feature_size_is_refused(tmp_path):
    split = write_split(tmp_path / "data")
    matcher = load_model(tmp_path / "a.ckpt", split)
    with pytest.raises(CheckpointError, match=r"features of 6 dimensions, but .* was trained on 8"):
        Index.build(matcher, write_split(tmp_path / "other", dim=6), tmp_path / "index")


def test_search_finds_the_largest_products(tmp_path):
    split = write_split(tmp_path / "data")
    matcher = load_model(tmp_path / "a.ckpt", split)
    index = Index.build(matcher, split, tmp_path / "index")
    texts = matcher.encode_texts(split.captions[:7])
    hits = index.search(texts, top=4)
    products = texts.pooled @ index.encoded.pooled.T
    torch.testing.assert_close(torch.from_numpy(hits.scores), products.topk(4).values)


@pytest.mark.parametrize(
    ("top", "queries", "message"),
    [
        (0, np.zeros((1, 8), np.float32), "top=0 must be >= 1"),
        (1, np.zeros((1, 9), np.float32), r"shape \(1, 9\); this index takes \(queries, 8\)"),
    ],
)
def test_search_refuses(tmp_path, top, queries, message):
    split = write_split(tmp_path / "data")
    index = Index.build(load_model(tmp_path / "a.ckpt", split), split, tmp_path / "index")
    with pytest.raises(ConfigError, match=message):
        index.search(queries, top)


def test_model_without_vectors_cannot_be_searched_by_product(tmp_path):
    split = write_split(tmp_path / "data")
    index = Index.build(load_model(tmp_path / "a.ckpt", split, "scan"), split, tmp_path / "index")
    with pytest.raises(ConfigError, match="no vector per image"):
        index.search(np.zeros((1, 8), np.float32))
