import numpy as np
import pytest
import torch

from helpers.precomp import write_precomp
from tangka_match.data.split import load_split
from tangka_match.metrics import Ranks, retrieval_ranks
from tangka_match.retrieval.answers import Answer, first_answers, list_answers, pick_examples


def test_first_answers_break_ties_like_retrieval_ranks():
    scores = torch.randint(0, 4, (30, 20), generator=torch.Generator().manual_seed(0)).float()
    first = first_answers(scores, 20)
    ranks = retrieval_ranks(scores.T.contiguous(), torch.arange(30) % 20).t2i
    places = (first == (torch.arange(30) % 20)[:, None]).nonzero()[:, 1] + 1
    assert torch.equal(places, ranks)


def test_list_answers_returns_score_and_correctness():
    scores = torch.tensor([[0.25, 0.75, 0.5], [0.5, 0.5, 1.0]])
    own = torch.tensor([[True, False, False], [False, True, False]])
    assert list_answers(scores, own, 2) == [
        (Answer(1, 0.75, right=False), Answer(2, 0.5, right=False)),
        (Answer(2, 1.0, right=False), Answer(1, 0.5, right=True)),
    ]
    assert [len(row) for row in list_answers(scores, own, 9)] == [3, 3]


SCORES = torch.tensor([[0.9, 0.1, 0.8, 0.3], [0.5, 0.6, 0.4, 0.2]])


def split_of(root, images, captions_per_image):
    write_precomp(root, "dev", images=images, captions_per_image=captions_per_image)
    return load_split(root, "val")


def test_pick_examples_sorts_answers_by_score(tmp_path):
    """Same gallery as in the docstring of `retrieval_ranks`: image 0 owns captions 0 and 1, image 1 owns 2 and 3."""
    split = split_of(tmp_path, 2, 2)
    found = pick_examples(SCORES, retrieval_ranks(SCORES, torch.as_tensor(split.caption_to_image)), split, answers=3)
    assert [(e.query, e.rank) for e in found.i2t] == [(0, 1), (1, 3)]
    assert [(a.item, a.right) for a in found.i2t[1].answers] == [(1, False), (0, False), (2, True)]
    assert [a.score for a in found.i2t[1].answers] == pytest.approx([0.6, 0.5, 0.4])
    assert [[a.item for a in e.answers] for e in found.t2i] == [[0, 1], [1, 0], [0, 1], [0, 1]]
    assert [[a.right for a in e.answers] for e in found.t2i][1] == [False, True]


def test_pick_examples_breaks_ties_like_retrieval_ranks(tmp_path):
    split = split_of(tmp_path, 7, 1)
    scores = torch.zeros(7, 7)
    ranks = retrieval_ranks(scores, torch.arange(7))
    for example in pick_examples(scores, ranks, split, answers=7).t2i:
        assert [answer.right for answer in example.answers].index(True) + 1 == example.rank


def test_pick_examples_takes_evenly_spaced_queries(tmp_path):
    split = split_of(tmp_path, 9, 1)
    scores = torch.as_tensor(np.random.default_rng(0).normal(size=(9, 9)))
    found = pick_examples(scores, Ranks(torch.ones(9).long(), torch.ones(9).long()), split, queries=3)
    assert [e.query for e in found.i2t] == [0, 4, 8]
    assert [len(e.answers) for e in found.i2t] == [5, 5, 5]
