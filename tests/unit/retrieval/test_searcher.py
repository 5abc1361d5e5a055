import numpy as np
import pytest
import torch

from helpers.small_search import make_rescorer, make_searcher, write_split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.metrics import retrieval_ranks
from tangka_match.retrieval import rescoring, searcher
from tangka_match.retrieval.evaluation import evaluate_split
from tangka_match.retrieval.nearest import ExactSearch, Hits
from tangka_match.retrieval.protocols import EvaluationProtocol
from tangka_match.retrieval.searcher import Searcher

KINDS = {"dual": "product", "hubs": "product", "vse": "pooled first", "scan": "whole gallery", "saf": "whole gallery"}


@pytest.fixture
def split(tmp_path):
    return write_split(tmp_path / "data", images=40, padded=1)


def ranks_of(found, split):
    """Return the rank of each caption's own image among the answers to it."""
    return [rows.tolist().index(owner) + 1 for rows, owner in zip(found.rows, split.caption_to_image, strict=True)]


@pytest.mark.parametrize("name", KINDS)
def test_exact_answers_have_the_ranks_of_evaluate(tmp_path, split, name, monkeypatch):
    monkeypatch.setattr(rescoring, "BLOCK_IMAGES", 7)
    made = make_searcher(tmp_path, split, name)
    assert made.scoring == KINDS[name]
    assert made.is_exact
    found = made.search(split.captions, split.num_images)
    evaluation = evaluate_split([made.base.matcher], split, EvaluationProtocol())
    expected = retrieval_ranks(evaluation.similarity, torch.as_tensor(split.caption_to_image)).t2i
    assert ranks_of(found, split) == expected.tolist()
    rows = torch.from_numpy(found.rows)
    torch.testing.assert_close(torch.from_numpy(found.scores), evaluation.similarity.T.gather(1, rows))
    recall = 100 * float((expected == 1).float().mean())
    assert recall == pytest.approx(evaluation.raw.metrics["t2i_r1"])


@pytest.mark.parametrize("name", KINDS)
def test_captions_of_an_image_are_ranked_like_in_evaluate(tmp_path, split, name):
    made = make_searcher(tmp_path, split, name)
    similarity = evaluate_split([made.base.matcher], split, EvaluationProtocol()).similarity
    found = made.captions(11, top=6)
    torch.testing.assert_close(torch.from_numpy(found.scores[0]), similarity[11].topk(6).values)
    torch.testing.assert_close(similarity[11, torch.from_numpy(found.rows[0])], similarity[11].topk(6).values)


def test_second_model_orders_the_candidates(tmp_path, split):
    fast, slow = make_rescorer(tmp_path, split, "dual"), make_rescorer(tmp_path, split, "saf")
    made = Searcher(split, fast, rerank=slow, rerank_top=10)
    queries = split.captions[:5]
    found = made.search(queries, 4)
    candidates = fast.index.search(fast.matcher.encode_texts(queries), 10).rows
    scores = slow.score(slow.matcher.encode_texts(queries))
    for rows, answer, values, row in zip(candidates, found.rows, found.scores, scores, strict=True):
        best = sorted(rows.tolist(), key=lambda image: (-row[image], -image))[:4]
        assert answer.tolist() == best
        np.testing.assert_allclose(values, row[best], atol=1e-6)
    assert not made.is_exact
    assert Searcher(split, fast, rerank=slow, rerank_top=40).is_exact


def test_agreement_is_measured_against_scoring_every_image(tmp_path, split):
    fast, slow = make_rescorer(tmp_path, split, "dual"), make_rescorer(tmp_path, split, "saf")
    whole = Searcher(split, fast, rerank=slow, rerank_top=40).agreement(split.captions[:8], top=5)
    assert (whole.first, whole.shared) == (100, 100)
    partial = Searcher(split, fast, rerank=slow, rerank_top=5)
    compared = partial.agreement(split.captions[:8], top=5)
    found = fast.index.search(fast.matcher.encode_texts(split.captions[:8]), 5).rows
    right = partial.exact(split.captions[:8], 5).rows
    shared = np.mean([len({*a} & {*b}) / 5 for a, b in zip(found.tolist(), right.tolist(), strict=True)])
    assert compared.shared == pytest.approx(100 * shared)
    assert compared.shared < 100
    assert "8 captions" in compared.describe()


def test_engine_replaces_the_exact_search(tmp_path, split):
    class Last:
        is_exact = False

        def search(self, queries, top):
            return Hits(np.tile(np.arange(40)[::-1][:top], (len(queries), 1)), np.zeros((len(queries), top)))

    made = make_searcher(tmp_path, split, engine=Last())
    assert made.search(["绿度母"], 3).rows.tolist() == [[39, 38, 37]]
    assert not made.is_exact


def test_engine_needs_vectors(tmp_path, split):
    with pytest.raises(ConfigError, match="has no vectors to index"):
        make_searcher(tmp_path, split, "saf", engine=ExactSearch(np.zeros((40, 8), np.float32)))


def test_similar_images_exclude_the_image_itself(tmp_path, split):
    made = make_searcher(tmp_path, split, "scan")
    vectors = rescoring.picture_vectors(made.base.index.encoded)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    cosines = vectors @ vectors[3]
    cosines[3] = -2
    found = made.similar(3, 5)
    np.testing.assert_allclose(found.scores[0], np.sort(cosines)[::-1][:5], atol=1e-6)
    assert 3 not in found.rows[0]


def test_a_correction_of_scores_does_not_make_images_alike(tmp_path, split):
    """The two last components are left out; with them all cosines would be higher."""
    made = make_searcher(tmp_path, split, "hubs")
    vectors = made.base.index.encoded.pooled[:, :8]
    cosines = torch.nn.functional.cosine_similarity(vectors, vectors[3:4])
    found = made.similar(3, 39)
    np.testing.assert_allclose(found.scores[0], cosines[found.rows[0]], atol=1e-6)


def test_words_say_what_the_model_knows(tmp_path, split):
    made = make_searcher(tmp_path, split)
    assert [tuple(word) for word in made.words("绿度母骑自行车")] == [
        ("绿度母", True),
        ("骑", False),
        ("自行车", False),
    ]


@pytest.mark.parametrize("query", ["。", " ", "，，"])
def test_query_without_words_is_refused(tmp_path, split, query):
    with pytest.raises(DataFormatError, match="has no words"):
        make_searcher(tmp_path, split).search([query], 3)


def test_index_of_another_split_is_refused(tmp_path, split):
    base = make_rescorer(tmp_path, split)
    other = write_split(tmp_path / "other", images=39)
    with pytest.raises(ConfigError, match="its images are not those of split test"):
        Searcher(other, base)


def test_rerank_top_must_be_positive(tmp_path, split):
    with pytest.raises(ConfigError, match="rerank_top=0 must be >= 1"):
        make_searcher(tmp_path, split, rerank_top=0)


def test_too_many_captions_for_a_model_without_vectors(tmp_path, split, monkeypatch):
    monkeypatch.setattr(searcher, "MAX_CAPTIONS", 79)
    with pytest.raises(ConfigError, match="80 captions are too many"):
        make_searcher(tmp_path, split, "scan").captions(0, 5)
