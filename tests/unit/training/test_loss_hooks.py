import torch

from helpers.stub_matchers import MaxMeanMatcher, PooledMatcher
from tangka_match.training.loss_hooks import MomentumEncoder
from tangka_match.types import RegionTextBatch


def matcher_of(value):
    matcher = PooledMatcher()
    matcher.register_buffer("mean", torch.tensor(value))
    for parameter in matcher.parameters():
        parameter.data.fill_(value)
    return matcher


def batch_of(count=3):
    ones, index = torch.ones(count, 2, dtype=torch.bool), torch.arange(count)
    return RegionTextBatch(torch.rand(count, 2, 5), ones, torch.ones(count, 2).long(), ones, index, index, index)


def test_momentum_encoder_starts_equal_and_then_follows():
    encoder = MomentumEncoder(matcher_of(7.0), 0.75)
    seen = []
    for value in (1.0, 2.0, 2.0):
        encoder.follow(matcher_of(value))
        seen.append((encoder.matcher.project[0, 0].item(), encoder.matcher.mean.item()))
    assert seen == [(1.0, 1.0), (1.25, 2.0), (1.4375, 2.0)]


def test_resumed_momentum_encoder_continues():
    encoder, resumed = (MomentumEncoder(matcher_of(7.0), 0.75) for _ in range(2))
    encoder.follow(matcher_of(1.0))
    resumed.load_state_dict(encoder.state_dict())
    resumed.follow(matcher_of(2.0))
    assert resumed.matcher.project[0, 0] == 1.25


def test_momentum_encoder_has_no_gradients_dropout_or_random_draws():
    encoder, batch = MomentumEncoder(PooledMatcher(), 0.9).train(), batch_of()
    state = torch.get_rng_state()
    first, second = encoder.encode(batch), encoder.train().encode(batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not first[0].pooled.requires_grad
    assert torch.equal(first[1].pooled, second[1].pooled)


def test_momentum_encoder_shares_no_memory_with_the_matcher():
    matcher = PooledMatcher()
    encoder = MomentumEncoder(matcher, 0.9)
    encoder.follow(matcher)
    matcher.project.data.fill_(5.0)
    assert not (encoder.matcher.project == 5.0).any()


def test_momentum_encoder_keeps_sequences_without_pooled_embeddings():
    images, texts = MomentumEncoder(MaxMeanMatcher(), 0.9).encode(batch_of())
    assert images.pooled is None
    assert texts.tokens.shape == (3, 2, 4)
