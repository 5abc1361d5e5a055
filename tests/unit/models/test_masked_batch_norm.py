import pytest
import torch
from torch import nn

from tangka_match.models.masked_batch_norm import CaptionBatchNorm, ItemBatchNorm, RegionSlotBatchNorm


def assert_same_state(found, expected):
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("training", [False, True])
def test_region_slots_equal_torch_where_all_are_real(training):
    ours, theirs = RegionSlotBatchNorm(4).train(training), nn.BatchNorm1d(4).train(training)
    x = 3 + 2 * torch.randn(5, 4, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x, torch.ones(5, 4, dtype=torch.bool)), theirs(x), atol=1e-6, rtol=1e-6)
    assert_same_state(ours, theirs)


def test_region_slots_ignore_padding():
    x = torch.randn(5, 4, 7, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[2:, 1] = False
    mask[:, 3] = False
    ours, theirs = RegionSlotBatchNorm(4), nn.BatchNorm1d(1)
    found = ours(x, mask)
    torch.testing.assert_close(found[:2, 1], theirs(x[:2, 1:2])[:, 0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.running_mean[1:2], theirs.running_mean)
    torch.testing.assert_close(ours.running_var[1:2], theirs.running_var)
    assert ours.running_mean[3] == 0  # a slot that no image fills keeps what it had
    assert ours.running_var[3] == 1


@pytest.mark.parametrize("training", [False, True])
def test_captions_equal_torch_called_once_for_each(training):
    ours, theirs = CaptionBatchNorm().train(training), nn.BatchNorm1d(1).train(training)
    x = 3 + 2 * torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    lengths = [5, 2, 3, 1]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    found = ours(x, mask)
    for caption, length in enumerate(lengths):
        expected = theirs(x[:, caption, None, :length]).squeeze(1)
        torch.testing.assert_close(found[:, caption, :length], expected, atol=1e-6, rtol=1e-6)
    assert_same_state(ours, theirs)


def test_one_item_is_normalised_by_running_statistics():
    norm = ItemBatchNorm(3)
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    torch.testing.assert_close(
        norm(torch.tensor([[1.0, 3.0, 5.0]])), torch.tensor([[0.0, 1.0, 2.0]]), atol=1e-4, rtol=0
    )
    assert norm.num_batches_tracked == 0
    norm(torch.randn(2, 3))
    assert norm.num_batches_tracked == 1
