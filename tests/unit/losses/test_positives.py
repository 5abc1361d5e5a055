import pytest
import torch

from tangka_match.errors import ShapeError
from tangka_match.losses import positive_mask


def test_same_image_or_same_text():
    mask = positive_mask(torch.tensor([7, 7, 2, 5]), torch.tensor([0, 3, 3, 9]))
    assert mask.int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_all_different_is_the_diagonal():
    assert torch.equal(positive_mask(torch.arange(5), torch.arange(5)), torch.eye(5, dtype=torch.bool))


def test_image_numbers_and_text_numbers_are_not_compared():
    assert not positive_mask(torch.tensor([1, 2]), torch.tensor([2, 1]))[0, 1]


@pytest.mark.usefixtures("as_users_run")
def test_lengths_differ():
    with pytest.raises(ShapeError, match=r"image_index is \(3,\) but text_group is \(2,\)"):
        positive_mask(torch.arange(3), torch.arange(2))
