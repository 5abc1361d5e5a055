import numpy as np
import pytest

from helpers.small_search import load_model, write_split
from tangka_match.errors import ConfigError
from tangka_match.retrieval import hnsw
from tangka_match.retrieval.hnsw import HNSWSearch
from tangka_match.retrieval.index import Index

pytest.importorskip("faiss")


@pytest.fixture
def built(tmp_path):
    split = write_split(tmp_path / "data", images=200)
    matcher = load_model(tmp_path / "a.ckpt", split, batch_size=64)
    index = Index.build(matcher, split, tmp_path / "index")
    return index, matcher.encode_texts(split.captions[:50]).pooled.numpy()


def graphs(index):
    return sorted(index.folder.glob("hnsw-*.faiss"))


def test_a_thorough_search_finds_what_the_exact_one_finds(built):
    index, queries = built
    found, right = HNSWSearch(index, effort=200).search(queries, 5), index.search(queries, 5)
    np.testing.assert_allclose(found.scores, right.scores, atol=1e-5)
    np.testing.assert_allclose((index.vectors[found.rows] * queries[:, None]).sum(2), found.scores, atol=1e-5)


def test_graph_is_kept_and_rebuilt_for_other_settings(built, monkeypatch):
    index, queries = built
    first = HNSWSearch(index).search(queries, 3)
    (path,) = graphs(index)
    with monkeypatch.context() as patched:
        patched.setattr(HNSWSearch, "_extend", None)  # would fail
        assert np.array_equal(HNSWSearch(index).search(queries, 3).rows, first.rows)
    HNSWSearch(index, links=8)
    assert len(graphs(index)) == 1
    assert graphs(index) != [path]


def test_added_images_extend_the_graph(tmp_path, built, monkeypatch):
    monkeypatch.setattr(hnsw, "BLOCK_ROWS", 7)
    index, queries = built
    HNSWSearch(index)
    more = write_split(tmp_path / "more", images=230)
    index.add(load_model(tmp_path / "a.ckpt", write_split(tmp_path / "again", images=200)), more)
    found = HNSWSearch(index, effort=230).search(queries, 5)
    np.testing.assert_allclose(found.scores, index.search(queries, 5).scores, atol=1e-5)


def test_damaged_graph_is_named(built):
    index, _ = built
    HNSWSearch(index)
    graphs(index)[0].write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"hnsw-.*\.faiss: not a graph"):
        HNSWSearch(index)


def test_settings_out_of_range(built):
    with pytest.raises(ConfigError, match=r"index.effort=0 must be >= 1"):
        HNSWSearch(built[0], effort=0)


def test_missing_library_names_the_extra(built, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(hnsw, "import_module", missing)
    with pytest.raises(ConfigError, match=r'pip install "tangka-match\[hnsw\]"'):
        HNSWSearch(built[0])
