from importlib import import_module

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.naive_retrieval import naive_rank, naive_ranks
from tangka_match.errors import DataFormatError, ShapeError, TrainingError
from tangka_match.metrics import ranks as ranks_module
from tangka_match.metrics import relevant_ranks, retrieval_ranks

HAND = torch.tensor([[0.9, 0.1, 0.8, 0.3], [0.5, 0.6, 0.4, 0.2]])
OWNERS = torch.tensor([0, 0, 1, 1])


def as_lists(ranks):
    return ranks.i2t.tolist(), ranks.t2i.tolist()


class TestByHand:
    def test_two_images_four_captions(self):
        assert as_lists(retrieval_ranks(HAND, OWNERS)) == ([1, 3], [1, 2, 2, 2])

    def test_captions_in_any_order(self):
        order = torch.tensor([3, 0, 2, 1])
        assert as_lists(retrieval_ranks(HAND[:, order], OWNERS[order])) == ([1, 3], [2, 1, 2, 2])

    def test_ragged_counts(self):
        """Image 0 has three captions, image 1 has one; the best of the three counts."""
        scores = torch.tensor([[0.1, 0.7, 0.2, 0.8], [0.9, 0.1, 0.3, 0.5]])
        assert as_lists(retrieval_ranks(scores, torch.tensor([0, 0, 0, 1]))) == ([2, 2], [2, 1, 2, 2])

    def test_negative_scores(self):
        assert as_lists(retrieval_ranks(HAND - 5, OWNERS)) == ([1, 3], [1, 2, 2, 2])

    def test_one_pair(self):
        assert as_lists(retrieval_ranks(torch.tensor([[-1.0]]), torch.tensor([0]))) == ([1], [1])


class TestTies:
    def test_collapsed_model_is_at_chance(self):
        assert as_lists(retrieval_ranks(torch.zeros(4, 4), torch.arange(4))) == ([4, 3, 2, 1], [4, 3, 2, 1])

    def test_collapsed_model_with_five_captions_is_at_chance(self):
        ranks = retrieval_ranks(torch.full((3, 15), 0.5), torch.arange(3).repeat_interleave(5))
        assert ranks.i2t.tolist() == [11, 6, 1]
        assert ranks.t2i.tolist() == [3] * 5 + [2] * 5 + [1] * 5

    def test_higher_index_ranks_first(self):
        scores = torch.tensor([[0.5, 0.9, 0.5], [0.5, 0.1, 0.2], [0.7, 0.9, 0.2]])
        assert as_lists(retrieval_ranks(scores, torch.arange(3))) == ([3, 3, 3], [3, 3, 2])

    def test_infinite_scores_are_ranked(self):
        scores = torch.tensor([[float("-inf"), float("-inf")], [1.0, float("inf")]])
        assert as_lists(retrieval_ranks(scores, torch.arange(2))) == ([2, 1], [2, 1])


@pytest.mark.parametrize("captions", [1, 5, 7])
@pytest.mark.parametrize("block_elements", [1, 40, 2**22])
def test_block_size_does_not_change_ranks(captions, block_elements, monkeypatch):
    monkeypatch.setattr(ranks_module, "BLOCK_ELEMENTS", block_elements)
    generator = torch.Generator().manual_seed(captions)
    owners = torch.arange(9).repeat_interleave(captions)[torch.randperm(9 * captions, generator=generator)]
    scores = torch.randint(-5, 5, (9, 9 * captions), generator=generator) / 4  # many ties
    assert as_lists(retrieval_ranks(scores, owners)) == naive_ranks(scores.tolist(), owners.tolist())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_match_sorting(dtype):
    generator = torch.Generator().manual_seed(0)
    scores, owners = torch.rand(6, 12, generator=generator).to(dtype), torch.arange(12) % 6
    ranks = retrieval_ranks(scores, owners)
    assert as_lists(ranks) == naive_ranks(scores.tolist(), owners.tolist())
    assert ranks.i2t.dtype == ranks.t2i.dtype == torch.int64


def test_ground_truth_may_be_int32():
    assert as_lists(retrieval_ranks(HAND, OWNERS.int())) == ([1, 3], [1, 2, 2, 2])


class TestMistakes:
    def test_nan_is_an_error_that_names_its_place(self, monkeypatch):
        monkeypatch.setattr(ranks_module, "BLOCK_ELEMENTS", 12)  # two rows per block: the NaN is in the third block
        scores = torch.zeros(6, 6)
        scores[4, 2] = scores[5, 0] = float("nan")
        with pytest.raises(TrainingError, match="NaN at row 4, column 2"):
            retrieval_ranks(scores, torch.arange(6))

    def test_images_without_captions_are_an_error(self):
        with pytest.raises(DataFormatError, match=r"2 of 4 images have no caption, among them rows \[1, 3\]"):
            retrieval_ranks(torch.zeros(4, 3), torch.tensor([0, 2, 2]))

    def test_row_out_of_range_is_an_error(self):
        with pytest.raises(ShapeError, match=r"caption_to_image\[1\] is 3 but similarity has 2 rows"):
            retrieval_ranks(torch.zeros(2, 3), torch.tensor([0, 3, 1]))

    def test_negative_row_is_an_error(self):
        with pytest.raises(ShapeError, match=r"caption_to_image\[2\] is -1 .* from 0 to 1"):
            retrieval_ranks(torch.zeros(2, 3), torch.tensor([0, 1, -1]))

    @pytest.mark.usefixtures("without_shape_checks")
    @pytest.mark.parametrize(("shape", "captions"), [((3, 4), 3), ((0, 0), 0), ((4,), 4)])
    def test_mismatched_shapes_are_an_error(self, shape, captions):
        wanted = str(shape).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ShapeError, match=rf"similarity is {wanted} and caption_to_image \({captions},\)"):
            retrieval_ranks(torch.zeros(shape), torch.zeros(captions).long())


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**31))
def test_relevant_ranks_match_sorting(images, captions, seed):
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


def test_own_pairs_give_retrieval_ranks():
    scores, owners = torch.rand(4, 12, generator=torch.Generator().manual_seed(0)), torch.arange(12) // 3
    expected = retrieval_ranks(scores, owners)
    found = relevant_ranks(scores, owners == torch.arange(4)[:, None])
    assert torch.equal(found.i2t, expected.i2t)
    assert torch.equal(found.t2i, expected.t2i)


@pytest.mark.parametrize("elements", [1, 6, 14])
def test_block_size_does_not_change_relevant_ranks(monkeypatch, elements):
    generator = torch.Generator().manual_seed(0)
    scores, relevant = torch.rand(7, 6, generator=generator), torch.rand(7, 6, generator=generator) < 0.3
    relevant[:, 0] = relevant[0] = True
    whole = relevant_ranks(scores, relevant)
    monkeypatch.setattr(import_module("tangka_match.metrics.ranks"), "BLOCK_ELEMENTS", elements)
    for found, expected in zip(relevant_ranks(scores, relevant), whole, strict=True):
        assert torch.equal(found, expected)


def test_more_relevant_pairs_never_worsen_ranks():
    generator = torch.Generator().manual_seed(0)
    scores, own = torch.rand(7, 7, generator=generator), torch.eye(7, dtype=torch.bool)
    more = own | (torch.rand(7, 7, generator=generator) < 0.3)
    before, after = relevant_ranks(scores, own), relevant_ranks(scores, more)
    assert (after.i2t <= before.i2t).all()
    assert (after.t2i <= before.t2i).all()


@pytest.mark.usefixtures("without_shape_checks")
def test_relevant_ranks_refuse_invalid_input():
    with pytest.raises(ShapeError, match=r"similarity is \(2, 3\) and relevant \(3, 2\)"):
        relevant_ranks(torch.zeros(2, 3), torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"1 caption\(s\) have no correct answer, the first is caption 1"):
        relevant_ranks(torch.zeros(2, 2), torch.tensor([[True, False], [True, False]]))
