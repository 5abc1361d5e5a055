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


def test_a_slice_worked_by_hand():
    """25 captions of which 5 are found, against 75 of which 45 are: z = (0.6 − 0.2) / √(0.25 (1/25 + 1/75)) = 3.46."""
    member = np.arange(100) < 25
    found = np.zeros(100, bool)
    found[:5] = found[25:70] = True
    made = slice_of("x", member, found, np.arange(100))
    assert (made.captions, made.recall, made.others) == (25, pytest.approx(20.0), pytest.approx(60.0))
    assert made.p == pytest.approx(0.000532, abs=1e-5)
    assert made.points(100) == pytest.approx(10.0)


@pytest.mark.parametrize("inside", [19, 82])
def test_too_few_captions_on_either_side_are_no_slice(inside):
    assert slice_of("x", np.arange(100) < inside, np.ones(100, bool), np.arange(100)) is None


def test_where_all_captions_are_found_nothing_differs():
    assert slice_of("x", np.arange(100) < 50, np.ones(100, bool), np.arange(100)).p == 1.0


def test_captions_are_cut_into_lengths():
    words = [["字"] * length for length in (3, 5, 8, 12) for _ in range(25)]
    found = np.repeat([False, True, True, True], 25)
    slices = by_length(words, found, np.arange(100))
    assert [made.name for made in slices] == ["3 words", "5 words", "8 words", "12 words"]
    (finding,) = judge_slices("caption_length", slices, 100, "do")
    assert "captions with 3 words have an R@1 of 0.0 %" in finding.seen
    assert finding.points == pytest.approx(25.0)


def test_captions_of_one_length_have_no_slices():
    assert by_length([["字"]] * 100, np.ones(100, bool), np.arange(100)) == []


def test_kinds_that_fail_come_first_and_are_found():
    """Captions that name a posture fail, as do those with a word that the model lacks; verbs make no difference."""
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


def test_by_chance_hardly_anything_fails():
    """200 sets in which all captions are found alike: no more than one in twenty may cry wolf."""
    random = np.random.default_rng(0)
    words = [["字"] * length for length in random.integers(3, 20, 300)]
    owners = np.arange(300)
    slices = (by_length(words, random.random(300) < 0.4, owners) for _ in range(200))
    alarms = sum(bool(judge_slices("x", made, 300, "do")) for made in slices)
    assert alarms <= 14


def test_captions_of_one_image_are_no_independent_draws():
    """All five captions of an image are found, or none; and all are in the slice, or none: nothing differs."""
    random, owners = np.random.default_rng(0), np.repeat(np.arange(400), 5)
    alarms = 0
    for _ in range(400):
        member, found = (np.repeat(random.random(400) < share, 5) for share in (0.3, 0.4))
        alarms += slice_of("x", member, found, owners).p < 0.05
    assert alarms <= 36  # 5 % of 400, and three standard deviations and a half


def test_the_word_that_fails_most_is_named():
    captions = [["龙", "云"]] * 30 + [["云", "山"]] * 30 + [["山"]] * 30
    found = np.repeat([False, True, True], 30)
    assert [made.name for made in worst_words(captions, found, np.arange(90))] == ["龙", "云"]


SCORES = torch.tensor(
    [
        [0.9, 0.2, 0.1, 0.3],
        [0.1, 0.3, 0.8, 0.7],
        [0.2, 0.5, 0.4, 0.6],
        [0.3, 0.9, 0.5, 0.5],
    ]
)
"""Caption 0 finds its image first; caption 1's image is second but two, caption 2's third, caption 3's third."""


def test_the_worst_queries_worked_by_hand():
    queries = worst_queries(make_scored(SCORES), "t2i")
    assert [(q.item, q.rank) for q in queries] == [(1, 3), (2, 3), (3, 3)]
    worst = queries[0]
    assert [(a.item, a.right) for a in worst.answers] == [(3, False), (2, False), (1, True), (0, False)]
    assert (worst.right.item, round(worst.right.score, 3)) == (1, 0.3)


def test_among_equal_ranks_the_clearest_miss_comes_first():
    leads = [q.answers[0].score - q.right.score for q in worst_queries(make_scored(SCORES), "t2i")]
    assert leads == sorted(leads, reverse=True)


def test_image_queries_look_for_any_of_their_captions():
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


def test_what_is_answered_rightly_is_not_shown():
    assert worst_queries(make_scored(torch.eye(5)), "t2i") == []
    assert len(worst_queries(make_scored(1 - torch.eye(9)), "t2i", 4)) == 4
