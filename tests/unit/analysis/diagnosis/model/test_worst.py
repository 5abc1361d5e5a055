import torch

from helpers.scored import make_scored
from tangka_match.analysis.diagnosis.model.worst import to_dict, worst_queries

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
