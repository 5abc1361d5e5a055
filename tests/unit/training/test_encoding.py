import pytest
import torch

from helpers.stub_matchers import MaxMeanMatcher, PooledMatcher
from tangka_match.losses import InfoNCELoss, LossInputs
from tangka_match.training.encoding import encode_in_chunks


def gradients(matcher, chunk_size):
    generator = torch.Generator().manual_seed(3)
    regions, ids = torch.randn(7, 3, 8, generator=generator), torch.randint(0, 60, (7, 5), generator=generator)
    images = encode_in_chunks(matcher.encode_images, chunk_size, regions, torch.ones(7, 3, dtype=torch.bool))
    texts = encode_in_chunks(matcher.encode_texts, chunk_size, ids, torch.ones(7, 5, dtype=torch.bool))
    loss = InfoNCELoss()(LossInputs(matcher.similarity(images, texts), torch.eye(7, dtype=torch.bool))).total
    return [loss, *torch.autograd.grad(loss, list(matcher.parameters()))]


@pytest.mark.parametrize("kind", [PooledMatcher, MaxMeanMatcher])
@pytest.mark.parametrize("chunk_size", [1, 3, 7, 9])
def test_chunks_give_loss_and_gradient_of_the_whole_batch(kind, chunk_size):
    matcher = kind(8, 4, 60).double().eval()
    torch.set_default_dtype(torch.float64)
    try:
        whole, chunked = gradients(matcher, None), gradients(matcher, chunk_size)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(whole, chunked, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_recomputation_repeats_the_dropout_mask():
    """A single chunk draws the same mask as no chunks, and leaves the generator in the same state."""
    matcher = PooledMatcher(8, 4, 60).train()
    torch.manual_seed(0)
    whole, state = gradients(matcher, None), torch.get_rng_state()
    torch.manual_seed(0)
    chunked = gradients(matcher, 7)
    assert torch.equal(state, torch.get_rng_state())
    for one, other in zip(whole, chunked, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-6)


def test_backward_pass_encodes_each_chunk_again():
    matcher, calls = PooledMatcher(8, 4, 60), []
    encode = matcher.encode_images

    def counted(regions, mask):
        calls.append(len(regions))
        return encode(regions, mask)

    encoded = encode_in_chunks(counted, 3, torch.randn(7, 3, 8), torch.ones(7, 3, dtype=torch.bool))
    assert calls == [3, 3, 1]
    encoded.pooled.sum().backward()
    assert sorted(calls) == [1, 1, 3, 3, 3, 3]
