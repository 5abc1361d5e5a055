from functools import partial

import pytest
import torch

from helpers.distributed_runs import EPOCHS, PAIRS, STEPS_PER_EPOCH, one_of_two
from helpers.precomp import write_dataset
from helpers.stub_matchers import ThawingMatcher
from helpers.two_processes import in_two_processes


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    root = tmp_path_factory.mktemp("ddp")
    write_dataset(root / "data", train=PAIRS)
    return in_two_processes(partial(one_of_two, root=root), tmp_path_factory.mktemp("gloo"))


@pytest.mark.parametrize("run", ["thawed", "queued", "whole", "resumed", "terminated"])
def test_both_processes_have_the_same_weights(ranks, run):
    first, second = (rank[run] for rank in ranks)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def test_both_processes_log_the_metrics_of_a_single_process(ranks):
    for rank in ranks:
        assert len(rank["logged"]) == 12
        assert rank["logged"] == rank["alone"]


def test_words_are_frozen_for_half_of_the_run(ranks):
    """Weight decay does not change them either: their gradient is ``None``, not zero."""
    for rank in ranks:
        known = [torch.equal(words, ThawingMatcher(8, 4, 60).words) for words in rank["words"]]
        assert known == [True] * 6 + [False] * 3  # before each of nine steps; the sixth step changes them


def test_hard_batches_of_both_processes_cover_every_epoch(ranks):
    """Their batch-norm statistics differ, so each alone would find other neighbours."""
    for epoch in range(EPOCHS):
        steps = slice(STEPS_PER_EPOCH * epoch, STEPS_PER_EPOCH * (epoch + 1))
        seen = torch.cat([captions for rank in ranks for captions in rank["captions"][steps]])
        assert sorted(seen.tolist()) == list(range(PAIRS))


def test_loss_on_embeddings_does_not_train_the_score_scale(ranks):
    assert ranks[0]["queued"]["matcher.scale"] == 1
    assert (ranks[0]["queued"]["loss.image_index"] >= 0).all()


def test_one_process_searches_for_hard_batches(ranks):
    assert [int(rank["searches"]) for rank in ranks] == [EPOCHS - 1, 0]


def test_signal_to_one_process_stops_both_at_the_same_step(ranks):
    assert [rank["in_step"] for rank in ranks] == [5, 5]  # in the fifth step, within the second epoch
    assert [rank["in_validation"] for rank in ranks] == [9, 9]


@pytest.mark.parametrize("stopped", ["resumed", "terminated"])
@pytest.mark.parametrize("rank", [0, 1])
def test_resumed_run_equals_an_uninterrupted_one(ranks, rank, stopped):
    whole, resumed = ranks[rank]["whole"], ranks[rank][stopped]
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
