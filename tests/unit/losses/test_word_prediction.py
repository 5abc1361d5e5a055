"""Word prediction: worked by hand, against torch's multi-label cross-entropy, and what a collapsed model reaches."""

import math

import pytest
import torch
from torch.nn import functional

from helpers.pair_contexts import random_context, without_pooled
from tangka_match.errors import ConfigError
from tangka_match.losses import LossInputs, WordPredictionLoss, word_prediction_loss
from tangka_match.types import Encoded

PAIRS = torch.eye(5, dtype=torch.bool)


def inputs(context):
    return LossInputs(torch.zeros(5, 5), PAIRS, context)


def test_worked_by_hand():
    """Caption 0: words of probability 1/2 and 1/4; caption 1: one word of probability 1/8, and padding."""
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.5, 0.375]], dtype=torch.float64).log()
    words, mask = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[True, True], [True, False]])
    expected = ((math.log(2) + math.log(4)) / 2 + math.log(8)) / 2
    assert word_prediction_loss(logits, words, mask).item() == pytest.approx(expected)


def test_against_cross_entropy_with_shares_as_targets():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 9, dtype=torch.float64, generator=generator)
    words = torch.randint(0, 9, (6, 4), generator=generator)
    mask = torch.arange(4) < torch.tensor([4, 1, 2, 3, 4, 2])[:, None]
    shares = torch.zeros(6, 9, dtype=torch.float64).scatter_add_(1, words, (mask / mask.sum(1, keepdim=True)).double())
    expected = functional.cross_entropy(logits, shares)
    torch.testing.assert_close(word_prediction_loss(logits, words, mask), expected)


def test_gradcheck():
    logits = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    words = torch.tensor([[1, 2], [0, 4], [3, 3]])
    assert torch.autograd.gradcheck(lambda x: word_prediction_loss(x, words, words > 0), logits)


class TestModule:
    def test_only_images_get_a_gradient(self):
        context = random_context(5)
        for encoded in (context.images, context.texts):
            encoded.pooled.requires_grad_()
        WordPredictionLoss(embed_dim=4, num_words=50)(inputs(context)).total.backward()
        assert context.images.pooled.grad.any()
        assert context.texts.pooled.grad is None

    def test_start_and_end_do_not_count(self):
        """Nor does padding: other tokens there change nothing, other words do."""
        loss = WordPredictionLoss(embed_dim=4, num_words=50)
        context = random_context(5)._replace(
            token_ids=torch.arange(30).reshape(5, 6), token_mask=torch.arange(6).expand(5, 6) < 5
        )
        before = loss(inputs(context)).total
        for place in range(6):
            ids = context.token_ids.clone()
            ids[:, place] += 17
            changed = not torch.equal(loss(inputs(context._replace(token_ids=ids))).total, before)
            assert changed == (place in (1, 2, 3)), place

    def test_captions_without_words_add_nothing(self):
        context = random_context(5)._replace(token_mask=torch.tensor([[True, True, False, False, False]]).expand(5, 5))
        loss = WordPredictionLoss(embed_dim=4, num_words=50)(inputs(context))
        assert loss.total == 0

    def test_larger_ids_share_outputs(self):
        context, loss = random_context(5), WordPredictionLoss(embed_dim=4, num_words=7)
        shifted = context._replace(token_ids=context.token_ids + 7)
        torch.testing.assert_close(loss(inputs(context)).total, loss(inputs(shifted)).total)

    def test_equal_images_reach_the_collapse_value_and_no_less(self):
        context = random_context(5)
        same = inputs(context._replace(images=Encoded(pooled=torch.ones(5, 4))))
        loss = WordPredictionLoss(embed_dim=4, num_words=20)
        optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
        for _ in range(400):
            optimizer.zero_grad()
            total = loss(same).total
            total.backward()
            optimizer.step()
        assert total.item() == pytest.approx(loss.collapse_value(same), abs=0.02)
        assert total.item() >= loss.collapse_value(same) - 1e-5

    def test_another_dimension_is_refused(self):
        with pytest.raises(ConfigError, match="embed_dim is 3, but this model's pooled embeddings have 4 dimensions"):
            WordPredictionLoss(embed_dim=3)(inputs(random_context(5)))

    def test_model_without_pooled_embeddings_is_refused(self):
        with pytest.raises(ConfigError, match=r"loss WordPredictionLoss compares one vector .* has none"):
            WordPredictionLoss(embed_dim=4)(inputs(without_pooled(random_context(5))))

    @pytest.mark.parametrize("settings", [{"embed_dim": 0}, {"embed_dim": 4, "num_words": 1}])
    def test_out_of_range(self, settings):
        with pytest.raises(ConfigError, match="is outside"):
            WordPredictionLoss(**settings)
