import numpy as np
import pytest
import torch

from helpers.scored import make_scored
from tangka_match.analysis.diagnosis.model.failures import (
    OUT_OF_VOCABULARY,
    RARE_WORDS,
    by_kind,
    by_length,
    judge_slices,
    slice_of,
    to_dict,
    worst_queries,
    worst_words,
)
from tangka_match.data.vocabulary import Vocabulary


def test_slice_worked_example():
    """R@1 of 5 / 25 against 45 / 75: z = (0.6 − 0.2) / √(0.25 (1/25 + 1/75)) = 3.46."""
    member = np.arange(100) < 25
    found = np.zeros(100, bool)
    found[:5] = found[25:70] = True
    made = slice_of("x", member, found, np.arange(100))
    assert (made.captions, made.recall, made.others) == (25, pytest.approx(20.0), pytest.approx(60.0))
    assert made.p == pytest.approx(0.000532, abs=1e-5)
    assert made.points(100) == pytest.approx(10.0)


@pytest.mark.parametrize("inside", [19, 82])
def test_slice_needs_enough_captions_on_both_sides(inside):
    assert slice_of("x", np.arange(100) < inside, np.ones(100, bool), np.arange(100)) is None


def test_perfect_recall_has_no_difference():
    assert slice_of("x", np.arange(100) < 50, np.ones(100, bool), np.arange(100)).p == 1.0


def test_captions_are_grouped_by_length():
    words = [["字"] * length for length in (3, 5, 8, 12) for _ in range(25)]
    found = np.repeat([False, True, True, True], 25)
    slices = by_length(words, found, np.arange(100))
    assert [made.name for made in slices] == ["3 words", "5 words", "8 words", "12 words"]
    (finding,) = judge_slices("caption_length", slices, 100, "do")
    assert "captions with 3 words have an R@1 of 0.0 %" in finding.seen
    assert finding.points == pytest.approx(25.0)


def test_equal_lengths_have_no_slices():
    assert by_length([["字"]] * 100, np.ones(100, bool), np.arange(100)) == []


def test_failing_kinds_come_first_and_are_reported():
    """Captions with a posture or an out-of-vocabulary word fail; verbs have no effect."""
    captions = [["结跏趺坐", "跑"]] * 25 + [["怪词", "跑"]] * 25 + [["红色", "跑"]] * 25 + [["红色"]] * 75
    found = np.repeat([False, False, True, True], [25, 25, 25, 75])
    vocabulary = Vocabulary(["结跏趺坐", "红色", "跑"])
    seen = {"结跏趺坐": 9, "红色": 9, "跑": 2}
    slices = {made.name: made for made in by_kind(captions, found, np.arange(150), vocabulary, seen)}
    assert slices[OUT_OF_VOCABULARY].recall == slices["坐姿与立姿 Postures"].recall == 0.0
    assert slices[RARE_WORDS].captions == 75
    assert slices["nouns"].recall == 100.0
    failing = judge_slices("word_kind", list(slices.values()), 150, "do")
    assert {finding.seen.split(" have ")[0] for finding in failing} >= {
        f"captions with {OUT_OF_VOCABULARY}",
        "captions with 坐姿与立姿 Postures",
    }
    assert not [finding for finding in failing if "nouns" in finding.seen]


def test_family_wise_error_rate():
    """200 sets without differences: at most one in twenty may have a finding."""
    random = np.random.default_rng(0)
    words = [["字"] * length for length in random.integers(3, 20, 300)]
    owners = np.arange(300)
    slices = (by_length(words, random.random(300) < 0.4, owners) for _ in range(200))
    rejected = sum(bool(judge_slices("x", made, 300, "do")) for made in slices)
    assert rejected <= 14


def test_standard_errors_are_clustered_by_image():
    """All five captions of an image have the same result and the same slice, and there is no difference."""
    random, owners = np.random.default_rng(0), np.repeat(np.arange(400), 5)
    rejected = 0
    for _ in range(400):
        member, found = (np.repeat(random.random(400) < share, 5) for share in (0.3, 0.4))
        rejected += slice_of("x", member, found, owners).p < 0.05
    assert rejected <= 36  # 5 % of 400, plus 3.5 standard deviations


def test_worst_word_comes_first():
    captions = [["龙", "云"]] * 30 + [["云", "山"]] * 30 + [["山"]] * 30
    found = np.repeat([False, True, True], 30)
    assert [made.name for made in worst_words(captions, found, np.arange(90))] == ["龙", "云"]


def test_word_with_few_failures_is_not_listed():
    captions = [["龙"]] * 30 + [["云"]] * 30
    for failures, listed in ((4, []), (5, ["龙"])):
        found = np.arange(60) >= failures
        assert [made.name for made in worst_words(captions, found, np.arange(60))] == listed


def test_interval_of_a_slice_stays_within_100_percent():
    low, high = slice_of("x", np.arange(60) < 30, np.ones(60, bool), np.arange(60)).interval
    assert 85.0 < low < high <= 100.0


SCORES = torch.tensor(
    [
        [0.9, 0.2, 0.1, 0.3],
        [0.1, 0.3, 0.8, 0.7],
        [0.2, 0.5, 0.4, 0.6],
        [0.3, 0.9, 0.5, 0.5],
    ]
)
"""Scores of four images (rows) and four captions (columns)."""


def test_worst_queries_worked_example():
    queries = worst_queries(make_scored(SCORES), "t2i")
    assert [(q.item, q.rank) for q in queries] == [(1, 3), (2, 3), (3, 3)]
    worst = queries[0]
    assert [(a.item, a.right) for a in worst.answers] == [(3, False), (2, False), (1, True), (0, False)]
    assert (worst.right.item, round(worst.right.score, 3)) == (1, 0.3)


def test_ties_are_sorted_by_score_lead():
    leads = [q.answers[0].score - q.right.score for q in worst_queries(make_scored(SCORES), "t2i")]
    assert leads == sorted(leads, reverse=True)


def test_image_query_matches_any_of_its_captions():
    scored = make_scored(torch.tensor([[0.1, 0.2, 0.9], [0.8, 0.3, 0.4]]), [0, 0, 1])
    image, other = worst_queries(scored, "i2t")
    assert (image.item, image.rank, image.right.item) == (0, 2, 1)
    assert (other.item, other.rank) == (1, 2)
    assert to_dict(scored, image) == {
        "query": "image-0",
        "rank": 2,
        "right": "caption 2",
        "score": scored.similarity[0, 1].item(),
        "answers": [
            {"item": f"caption {n + 1}", "score": scored.similarity[0, n].item(), "right": n < 2} for n in (2, 1, 0)
        ],
    }


def test_correctly_answered_queries_are_excluded():
    assert worst_queries(make_scored(torch.eye(5)), "t2i") == []
    assert len(worst_queries(make_scored(1 - torch.eye(9)), "t2i", 4)) == 4
