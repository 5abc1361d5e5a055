import torch

from tangka_match.metrics import retrieval_ranks
from tangka_match.retrieval.answers import Answer, first_answers, list_answers


def test_first_answers_follow_the_rule_of_the_ranks():
    scores = torch.randint(0, 4, (30, 20), generator=torch.Generator().manual_seed(0)).float()
    first = first_answers(scores, 20)
    ranks = retrieval_ranks(scores.T.contiguous(), torch.arange(30) % 20).t2i
    places = (first == (torch.arange(30) % 20)[:, None]).nonzero()[:, 1] + 1
    assert torch.equal(places, ranks)


def test_each_answer_has_its_score_and_says_whether_it_is_right():
    scores = torch.tensor([[0.25, 0.75, 0.5], [0.5, 0.5, 1.0]])
    own = torch.tensor([[True, False, False], [False, True, False]])
    assert list_answers(scores, own, 2) == [
        (Answer(1, 0.75, right=False), Answer(2, 0.5, right=False)),
        (Answer(2, 1.0, right=False), Answer(1, 0.5, right=True)),
    ]
    assert [len(row) for row in list_answers(scores, own, 9)] == [3, 3]
