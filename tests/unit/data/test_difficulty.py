import math
from itertools import chain

import numpy as np
import pytest
import torch

from tangka_match.data import difficulty
from tangka_match.data.difficulty import competence, gather_neighbours, nearest_pairs, word_rarity
from tangka_match.data.samplers import ResumableBatchSampler
from tangka_match.errors import ConfigError


def caption(*words):
    return np.array([1, *words, 2])


def test_word_rarity_by_hand():
    """Counts: word 5 four times, word 6 once, word 9 three times, of eight words."""
    rarity = word_rarity([caption(5, 5, 6), caption(9), caption(5, 9, 9), caption(5)])
    p5, p6, p9 = 4 / 8, 1 / 8, 3 / 8
    expected = [-2 * math.log(p5) - math.log(p6), -math.log(p9), -math.log(p5) - 2 * math.log(p9), -math.log(p5)]
    np.testing.assert_allclose(rarity, expected)


def test_start_and_end_are_not_counted():
    """Counting them would increase the rarity of all other words."""
    assert word_rarity([caption(5), caption(5, 5)]).tolist() == [0, 0]


def test_longer_captions_and_rarer_words_are_harder():
    easy, longer, rarer = word_rarity([caption(5, 6), caption(5, 6, 5), caption(5, 7)])
    assert easy < longer
    assert easy < rarer


def test_no_captions():
    assert word_rarity([]).shape == (0,)


@pytest.mark.parametrize(
    ("progress", "initial", "shape", "expected"),
    [
        (0, 0.01, 2, 0.01),
        (0.25, 0.01, 2, math.sqrt(0.25 * (1 - 0.01**2) + 0.01**2)),
        (0.5, 0.2, 1, 0.6),
        (0.5, 0.2, 3, (0.5 * (1 - 0.2**3) + 0.2**3) ** (1 / 3)),
        (1, 0.3, 2, 1),
        (9, 0.3, 2, 1),
        (0, 1, 2, 1),
    ],
)
def test_competence(progress, initial, shape, expected):
    assert competence(progress, initial, shape) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"progress": -0.1, "initial": 0.5}, "progress=-0.1"),
        ({"progress": 0, "initial": 0}, "initial=0"),
        ({"progress": 0, "initial": 1.5}, "initial=1.5"),
        ({"progress": 0, "initial": 0.5, "shape": 0.5}, "shape=0.5"),
    ],
)
def test_competence_out_of_range(setting, message):
    with pytest.raises(ConfigError, match=f"{message}.*must satisfy progress >= 0, 0 < initial <= 1, shape >= 1"):
        competence(**setting)


ALL_DIFFERENT = torch.arange(3)


def test_larger_of_both_directions_counts():
    """Caption 2 is near image 0, caption 0 is not near image 2: each is still a neighbour of the other."""
    images = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    texts = torch.tensor([[1.0, 0.2, 0], [0, 1, 0], [0.9, 0, 0.5]])
    assert nearest_pairs(images, texts, ALL_DIFFERENT, ALL_DIFFERENT, 1)[:, 0].tolist() == [2, 0, 0]


def test_norm_of_vectors_is_ignored():
    images = torch.eye(3)
    texts = torch.tensor([[1.0, 0, 0], [0.6, 1, 0], [300.0, 0, 400]])  # cosines with image 0: 0.51 and 0.6
    assert nearest_pairs(images, texts, ALL_DIFFERENT, ALL_DIFFERENT, 1)[0, 0] == 2


def test_same_image_or_same_text_is_not_a_negative():
    vectors = torch.tensor([[1.0, 0], [1, 0.1], [1, 0.2], [1, 0.3]])
    near = nearest_pairs(vectors[[0, 1, 2]], vectors, torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 0, 2]), count=3)
    assert near[0].tolist() == [3, -1, -1]  # 1 has the same image, 2 the same text
    assert set(near[3].tolist()) == {0, 1, 2}


def test_block_size_does_not_change_the_result(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(10, 4, generator=generator) for _ in range(2))
    whole = nearest_pairs(images, texts, torch.arange(10), torch.arange(10), 4)
    monkeypatch.setattr(difficulty, "_ROWS_PER_BLOCK", 3)
    assert (nearest_pairs(images, texts, torch.arange(10), torch.arange(10), 4) == whole).all()
    scores = torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(texts).T
    both = torch.maximum(scores, scores.T)
    assert whole[:, 0].tolist() == both.fill_diagonal_(-2).argmax(1).tolist()


def test_seeds_add_unused_neighbours_in_turn():
    near = np.array([[4, 5, 2], [4, 5, 3], [-1, -1, -1], [-1, -1, -1], [-1, -1, -1], [-1, -1, -1], [0, 1, 4]])
    order = np.array([0, 1, 2, 3, 4, 5, 6])
    # 0 adds 4; for 1, 4 is used, so that it adds 5; then only 2, 3 and 6 are left.
    assert gather_neighbours(order, near, 4, 0.5).tolist() == [0, 1, 4, 5, 2, 3, 6]


def test_neighbours_outside_the_epoch_are_skipped():
    near = np.array([[3, 1, 2], [0, 2, 3], [0, 1, 3], [0, 1, 2]])
    assert gather_neighbours(np.array([0, 2, 1]), near, 3, 0.9).tolist() == [0, 1, 2]


def ring(count):
    """Return a neighbour table in which pair n has the neighbours n + 1 and n - 1."""
    number = np.arange(count)
    return np.stack([(number + 1) % count, (number - 1) % count], axis=1)


def sampler_of(count, batch_size, **settings):
    sampler = ResumableBatchSampler(count, batch_size, seed=3, hard_batches=0.5, **settings)
    sampler.find_neighbours = lambda: ring(count)
    return sampler


@pytest.mark.parametrize("drop_last", [True, False])
def test_hard_batches_have_the_same_pairs_as_shuffling(drop_last):
    hard, plain = sampler_of(50, 8, drop_last=drop_last), ResumableBatchSampler(50, 8, seed=3, drop_last=drop_last)
    assert list(hard) == list(plain)  # the first epoch is shuffled
    for sampler in (hard, plain):
        sampler.set_epoch(1)
    batches, shuffled = list(hard), list(plain)
    assert sorted(chain(*batches)) == sorted(chain(*shuffled))
    assert [len(batch) for batch in batches] == [len(batch) for batch in shuffled]
    assert batches != shuffled


def test_half_of_a_batch_are_neighbours():
    sampler = sampler_of(400, 8)
    sampler.set_epoch(1)

    def num_neighbours(batch):
        return sum((pair + 1) % 400 in batch or (pair - 1) % 400 in batch for pair in batch)

    hard = [num_neighbours(batch) for batch in sampler]
    assert sum(count == 8 for count in hard) > 25  # of 50: fewer neighbours are left at the end
    assert min(hard[:10]) < 8  # batches are shuffled
    sampler.hard_batches = 0.0
    assert max(num_neighbours(batch) for batch in sampler) < 6


def test_find_neighbours_is_called_once_per_epoch():
    calls = []
    sampler = sampler_of(20, 4)
    sampler.find_neighbours = lambda: calls.append(sampler.epoch) or ring(20)
    sampler.set_epoch(1)
    whole = list(sampler)
    assert list(sampler) == whole
    sampler.set_epoch(2)
    assert list(sampler) != whole
    assert calls == [1, 2]
    sampler.keep_neighbours(1, ring(20))
    sampler.start_at(1, 3)
    assert list(sampler) == whole[3:]
    assert calls == [1, 2]


def test_ranks_split_a_global_batch_of_neighbours():
    alone = sampler_of(48, 6)
    ranks = [sampler_of(48, 2, rank=rank, world_size=3) for rank in range(3)]
    for sampler in (alone, *ranks):
        sampler.set_epoch(2)
    for batch, *shares in zip(alone, *ranks, strict=True):
        assert [share == batch[rank::3] for rank, share in enumerate(shares)] == [True] * 3


def test_invalid_settings():
    with pytest.raises(ConfigError, match=r"data\.hard_batches=1\.0 must be in \[0, 1\)"):
        ResumableBatchSampler(10, 2, hard_batches=1.0)
    with pytest.raises(ConfigError, match=r"hard_batches=0\.5 and data\.initial_competence=0\.3 cannot be combined"):
        ResumableBatchSampler(10, 2, hard_batches=0.5, initial_competence=0.3, difficulty=np.zeros(10))
    sampler = ResumableBatchSampler(10, 2, hard_batches=0.5)
    sampler.set_epoch(1)
    with pytest.raises(ConfigError, match=r"hard_batches=0\.5 needs hard negatives mined with the current model"):
        list(sampler)
