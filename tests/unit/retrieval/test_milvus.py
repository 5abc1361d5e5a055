"""Milvus through Milvus Lite, which runs in this process on a file."""

import numpy as np
import pytest

from helpers.small_search import load_model, write_split
from tangka_match.errors import ConfigError
from tangka_match.retrieval import milvus
from tangka_match.retrieval.index import Index
from tangka_match.retrieval.milvus import MilvusSearch

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")


@pytest.fixture
def built(tmp_path):
    split = write_split(tmp_path / "data", images=60)
    matcher = load_model(tmp_path / "a.ckpt", split)
    index = Index.build(matcher, split, tmp_path / "index")
    return index, matcher.encode_texts(split.captions[:20]).pooled.numpy()


def test_answers_equal_those_of_the_exact_search(tmp_path, built, monkeypatch):
    monkeypatch.setattr(milvus, "BLOCK_ROWS", 16)
    index, queries = built
    engine = MilvusSearch(index, str(tmp_path / "vectors.db"))
    found = engine.search(queries, 5)
    engine.close()
    np.testing.assert_allclose(found.scores, index.search(queries, 5).scores, atol=1e-5)


def test_interrupted_transfer_goes_on(tmp_path, built, monkeypatch):
    monkeypatch.setattr(milvus, "BLOCK_ROWS", 16)
    index, queries = built
    uri, sent = str(tmp_path / "vectors.db"), []
    original = MilvusSearch._send

    def first_block(self, vectors):
        original(self, vectors[:20])

    with monkeypatch.context() as patched:
        patched.setattr(MilvusSearch, "_send", first_block)
        MilvusSearch(index, uri).close()
    engine = MilvusSearch(index, uri)
    sent.append(engine._count())
    found = engine.search(queries, 5)
    engine.close()
    assert sent == [60]
    np.testing.assert_allclose(found.scores, index.search(queries, 5).scores, atol=1e-5)


def test_server_that_does_not_answer(built):
    with pytest.raises(ConfigError, match=r"index.uri=http://127\.0\.0\.1:9: Milvus does not answer"):
        MilvusSearch(built[0], "http://127.0.0.1:9", timeout=1.0)


def test_missing_library_names_the_extra(built, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(milvus, "import_module", missing)
    with pytest.raises(ConfigError, match=r'pip install "tangka-match\[milvus\]"'):
        MilvusSearch(built[0], "x.db")
