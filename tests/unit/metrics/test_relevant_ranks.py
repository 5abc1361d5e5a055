from importlib import import_module

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.naive_retrieval import naive_rank
from tangka_match.errors import ShapeError
from tangka_match.metrics import relevant_ranks, retrieval_ranks


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**31))
def test_same_as_sorting(images, captions, seed):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 4, (images, captions), generator=generator).float()  # many ties
    relevant = torch.rand(images, captions, generator=generator) < 0.4
    relevant[:, 0] = relevant[0] = True
    ranks = relevant_ranks(scores, relevant)
    for found, rows, right in ((ranks.i2t, scores, relevant), (ranks.t2i, scores.T, relevant.T)):
        expected = [
            naive_rank(row.tolist(), marked.nonzero().flatten().tolist())
            for row, marked in zip(rows, right, strict=True)
        ]
        assert found.tolist() == expected


def test_own_pairs_alone_are_the_usual_ranks():
    scores, owners = torch.rand(4, 12, generator=torch.Generator().manual_seed(0)), torch.arange(12) // 3
    expected = retrieval_ranks(scores, owners)
    found = relevant_ranks(scores, owners == torch.arange(4)[:, None])
    assert torch.equal(found.i2t, expected.i2t)
    assert torch.equal(found.t2i, expected.t2i)


@pytest.mark.parametrize("elements", [1, 6, 14])
def test_blocks_of_rows_change_nothing(monkeypatch, elements):
    generator = torch.Generator().manual_seed(0)
    scores, relevant = torch.rand(7, 6, generator=generator), torch.rand(7, 6, generator=generator) < 0.3
    relevant[:, 0] = relevant[0] = True
    whole = relevant_ranks(scores, relevant)
    monkeypatch.setattr(import_module("tangka_match.metrics.relevant_ranks"), "BLOCK_ELEMENTS", elements)
    for found, expected in zip(relevant_ranks(scores, relevant), whole, strict=True):
        assert torch.equal(found, expected)


def test_more_right_answers_never_harm():
    generator = torch.Generator().manual_seed(0)
    scores, own = torch.rand(7, 7, generator=generator), torch.eye(7, dtype=torch.bool)
    more = own | (torch.rand(7, 7, generator=generator) < 0.3)
    before, after = relevant_ranks(scores, own), relevant_ranks(scores, more)
    assert (after.i2t <= before.i2t).all()
    assert (after.t2i <= before.t2i).all()


@pytest.mark.usefixtures("as_users_run")
def test_mistakes():
    with pytest.raises(ShapeError, match=r"similarity is \(2, 3\) and relevant \(3, 2\)"):
        relevant_ranks(torch.zeros(2, 3), torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"1 caption\(s\) have no right answer, the first is number 1"):
        relevant_ranks(torch.zeros(2, 2), torch.tensor([[True, False], [True, False]]))
