import pytest
import torch

from helpers.gathered_steps import STEPS, global_batch, one_of_two, share_of, single_process
from helpers.two_processes import in_two_processes


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return in_two_processes(one_of_two, tmp_path_factory.mktemp("gloo"))


@pytest.mark.parametrize("kind", STEPS)
def test_two_processes_have_the_loss_of_one_process(ranks, kind):
    expected = single_process(kind)["loss"]
    assert [rank[kind]["loss"] for rank in ranks] == pytest.approx([expected, expected], rel=1e-5)


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_have_the_gradients_of_one_process(ranks, kind, rank):
    """Gradients of both encoders and of the parameters of the loss."""
    expected = single_process(kind)["gradients"]
    assert len(expected) > 1
    if kind != "batch_statistics":  # a bias before batch norm has no gradient
        assert "matcher.words" in expected
        assert all(gradient.norm() > 1e-3 for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(ranks[rank][kind]["gradients"][name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", STEPS)
def test_each_process_scores_its_images_against_all_captions(ranks, kind):
    assert set(single_process(kind)["scored"]) == {(6, 6)}
    for rank in ranks:
        assert set(rank[kind]["scored"]) == {(3, 6)}


def test_two_processes_have_the_batch_statistics_of_one_process(ranks):
    expected = single_process("batch_statistics")["statistics"]
    assert len(expected) == 4 * 3
    for rank in ranks:
        torch.testing.assert_close(rank["batch_statistics"]["statistics"], expected)


def test_two_processes_have_the_queue_of_one_process(ranks):
    expected = single_process("momentum_queue")["queue"]
    assert expected["image_index"].tolist() == [1, 2, 1, 3, 4, 4, 0]  # the batch twice in seven places
    for rank in ranks:
        torch.testing.assert_close(rank["momentum_queue"]["queue"], expected)


def test_rows_are_in_rank_order(ranks):
    for rank in ranks:
        assert rank["pooled_rows"].flatten().tolist() == [0.0, 0.0, 1.0, 1.0]


def test_shorter_sequences_are_padded_to_the_longest_of_all_ranks(ranks):
    for rank in ranks:
        assert rank["tokens"][..., 0].tolist() == [[1, 1, 0], [1, 1, 0], [2, 2, 2], [2, 2, 2]]
        assert rank["mask"].sum(1).tolist() == [2, 2, 3, 3]


def test_captions_of_all_ranks_are_those_of_the_global_batch(ranks):
    batch = global_batch()
    for rank in ranks:
        assert torch.equal(rank["token_mask"], batch.token_mask)
        assert torch.equal(rank["token_ids"][rank["token_mask"]], batch.token_ids[batch.token_mask])


def test_ranks_of_these_tests_pad_to_different_lengths():
    """Otherwise the tests above would not cover padding."""
    assert [share_of(global_batch(), rank).token_ids.shape[1] for rank in (0, 1)] == [3, 5]
