import torch

from tangka_match.training.augmentation.order import swap_words


def test_each_of_two_ways_to_pair_the_words_occurs_and_no_other():
    """Five words and a share of nearly one: pairs from the first word or from the second."""
    torch.manual_seed(0)
    ids = torch.tensor([[1, 10, 11, 12, 13, 14, 2, 0]]).repeat(200, 1)
    swapped = swap_words(ids, ids != 0, 1 - 1e-7)
    assert {tuple(row) for row in swapped.tolist()} == {(1, 11, 10, 13, 12, 14, 2, 0), (1, 10, 12, 11, 14, 13, 2, 0)}


def test_the_share_is_that_of_the_pairs():
    torch.manual_seed(0)
    ids = torch.tensor([[1, *range(10, 50), 2]]).repeat(200, 1)
    swapped = swap_words(ids, ids != 0, 0.2)
    assert torch.equal(swapped.sort(1).values, ids.sort(1).values)
    assert abs((swapped != ids)[:, 2:-2].float().mean() - 0.2) < 0.02
