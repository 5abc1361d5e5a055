import pytest
import torch
from torch import nn

from tangka_match.errors import ShapeError
from tangka_match.models.layers import (
    CaptionBatchNorm,
    ItemBatchNorm,
    MaskedBatchNorm,
    RegionSlotBatchNorm,
    _run_packed,
    run_masked,
    xavier_linears_,
)


def test_xavier_initialises_nested_linear_layers():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(40, 20), nn.ModuleList([nn.Linear(20, 60), nn.LayerNorm(60)]))
    xavier_linears_(module)
    for layer, bound in ((module[0], 0.1**0.5), (module[1][0], 0.075**0.5)):  # sqrt(6 / (inputs + outputs))
        assert (layer.bias == 0).all()
        assert 0.95 * bound < layer.weight.abs().max() <= bound
        assert abs(layer.weight.mean()) < 0.05 * bound
    assert (module[1][1].weight == 1).all()


def assert_same_state(found, expected):
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("training", [False, True])
def test_region_slot_batch_norm_equals_torch_without_padding(training):
    ours, theirs = RegionSlotBatchNorm(4).train(training), nn.BatchNorm1d(4).train(training)
    x = 3 + 2 * torch.randn(5, 4, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(x, torch.ones(5, 4, dtype=torch.bool)), theirs(x), atol=1e-6, rtol=1e-6)
    assert_same_state(ours, theirs)


def test_region_slot_batch_norm_ignores_padding():
    x = torch.randn(5, 4, 7, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(5, 4, dtype=torch.bool)
    mask[2:, 1] = False
    mask[:, 3] = False
    ours, theirs = RegionSlotBatchNorm(4), nn.BatchNorm1d(1)
    found = ours(x, mask)
    torch.testing.assert_close(found[:2, 1], theirs(x[:2, 1:2])[:, 0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(ours.running_mean[1:2], theirs.running_mean)
    torch.testing.assert_close(ours.running_var[1:2], theirs.running_var)
    assert ours.running_mean[3] == 0  # slot without a real region
    assert ours.running_var[3] == 1


@pytest.mark.parametrize("training", [False, True])
def test_caption_batch_norm_equals_torch_called_per_caption(training):
    ours, theirs = CaptionBatchNorm().train(training), nn.BatchNorm1d(1).train(training)
    x = 3 + 2 * torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    lengths = [5, 2, 3, 1]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    found = ours(x, mask)
    for caption, length in enumerate(lengths):
        expected = theirs(x[:, caption, None, :length]).squeeze(1)
        torch.testing.assert_close(found[:, caption, :length], expected, atol=1e-6, rtol=1e-6)
    assert_same_state(ours, theirs)


def test_item_batch_norm_uses_running_statistics_for_one_item():
    norm = ItemBatchNorm(3)
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    torch.testing.assert_close(
        norm(torch.tensor([[1.0, 3.0, 5.0]])), torch.tensor([[0.0, 1.0, 2.0]]), atol=1e-4, rtol=0
    )
    assert norm.num_batches_tracked == 0
    norm(torch.randn(2, 3))
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("training", [True, False])
def test_masked_batch_norm_equals_torch_on_the_real_positions(training):
    torch.manual_seed(0)
    ours, theirs = (norm.train(training) for norm in (MaskedBatchNorm(3).double(), nn.BatchNorm1d(3).double()))
    x, mask = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True), torch.rand(4, 5) < 0.6
    for norm in (ours, theirs):
        nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(1))
    found, expected = ours(x, mask)[mask], theirs(x[mask])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(dict(ours.named_buffers()), dict(theirs.named_buffers()))
    weights = torch.randn_like(found)
    gradients = [
        torch.autograd.grad((y * weights).sum(), [x, norm.weight]) for y, norm in ((found, ours), (expected, theirs))
    ]
    torch.testing.assert_close(*gradients)


def test_masked_batch_norm_uses_running_statistics_for_one_real_position():
    norm, mask = MaskedBatchNorm(3), torch.tensor([[False, True, False]])
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0)
    x = torch.tensor([[[9.0] * 3, [1.0, 3.0, 5.0], [9.0] * 3]])
    torch.testing.assert_close(norm(x, mask)[mask], torch.tensor([[0.0, 1.0, 2.0]]), atol=1e-4, rtol=0)
    assert norm.num_batches_tracked == 0
    assert norm.running_mean.tolist() == [1.0] * 3


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_packed_sequences_of_a_gpu_equal_the_steps_of_a_cpu(kind):
    rnn, x = kind(3, 4, 2, batch_first=True, bidirectional=True), torch.randn(4, 6, 3)
    torch.testing.assert_close(_run_packed(rnn, x, LENGTHS), run_masked(rnn, x, LENGTHS))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_recurrent_layers_of_a_gpu_ignore_autocast(kind, dtype):
    """Autocast would run them in float16 without loss scaling."""
    rnn, inputs = kind(5, 4, batch_first=True), torch.randn(3, 6, 5).to(dtype)
    plain = _run_packed(rnn, inputs.float(), (6, 2, 4))
    with torch.autocast("cpu", torch.bfloat16):
        found = _run_packed(rnn, inputs, (6, 2, 4))
    assert found.dtype == torch.float32
    assert torch.equal(found, plain)


LENGTHS = (2, 5, 1, 4)  # not sorted


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_run_masked_equals_torch_on_each_caption(kind, bidirectional, num_layers):
    torch.manual_seed(0)
    rnn, x = kind(3, 4, num_layers, batch_first=True, bidirectional=bidirectional), torch.randn(4, 6, 3)
    found = run_masked(rnn, x, LENGTHS)
    assert found.shape == (4, 6, 8 if bidirectional else 4)
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(found[row, :length], rnn(x[row, None, :length])[0][0])
        assert (found[row, length:] == 0).all()


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_run_masked_gradients_equal_torch_on_each_caption(kind):
    torch.manual_seed(0)
    rnn = kind(3, 4, 2, batch_first=True, bidirectional=True).double()
    x = torch.randn(4, 6, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(6, 8, dtype=torch.float64)
    together = (run_masked(rnn, x, LENGTHS) * weights).sum()
    alone = sum((rnn(x[row, None, :n])[0][0] * weights[:n]).sum() for row, n in enumerate(LENGTHS))
    wanted = [x, *rnn.parameters()]
    torch.testing.assert_close(torch.autograd.grad(together, wanted), torch.autograd.grad(alone, wanted))


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_run_masked_keeps_float32_states_in_half_precision(kind):
    torch.manual_seed(0)
    rnn, x = kind(3, 4, batch_first=True, bidirectional=True), torch.randn(4, 6, 3)
    with torch.autocast("cpu", torch.bfloat16):
        half = run_masked(rnn, x, LENGTHS)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, run_masked(rnn, x, LENGTHS), atol=0.02, rtol=0.02)


def test_run_masked_gives_padding_zero_gradient():
    rnn, x = nn.LSTM(3, 4, batch_first=True, bidirectional=True), torch.randn(2, 5, 3, requires_grad=True)
    mask = torch.arange(5) < torch.tensor([[3], [5]])
    run_masked(rnn, x, (3, 5)).square().sum().backward()
    assert (x.grad[~mask] == 0).all()
    assert (x.grad[mask].abs().sum(dim=1) > 0).all()


def test_run_masked_refuses_a_caption_without_words():
    with pytest.raises(ShapeError, match="caption 1 of this batch has 0 real tokens"):
        run_masked(nn.GRU(3, 4, batch_first=True), torch.randn(3, 2, 3), (2, 0, 0))
