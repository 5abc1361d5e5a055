import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from helpers.pair_contexts import random_context, with_keys, without_pooled
from tangka_match.errors import ConfigError
from tangka_match.losses import (
    InfoNCELoss,
    LossInputs,
    MomentumQueueLoss,
    momentum_queue_loss,
)
from tangka_match.types import Encoded

PAIRS = torch.eye(3, dtype=torch.bool)
SCORES = torch.zeros(3, 3)


def unit_vectors(count, seed=0):
    return normalize(torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


def queue_of(size=8, **settings):
    return MomentumQueueLoss(embed_dim=4, queue_size=size, learn_temperature=False, **settings)


def fill(loss, image_index, seed=0):
    """Call the loss with one training batch of these images, each with its own caption."""
    context = with_keys(random_context(len(image_index), seed=seed), image_index, image_index, seed=seed + 100)
    positives = torch.eye(len(image_index), dtype=torch.bool)
    loss(LossInputs(torch.zeros(len(image_index), len(image_index)), positives, context))
    return context


class TestFunction:
    def test_against_torchs_cross_entropy(self):
        queries, keys, queue = unit_vectors(3), unit_vectors(3, 1), unit_vectors(5, 2)
        negatives = torch.ones(3, 5, dtype=torch.bool)
        expected = cross_entropy(7 * queries @ torch.cat([keys, queue]).T, torch.arange(3))
        loss = momentum_queue_loss(queries, keys, queue, positives=PAIRS, queue_negatives=negatives, logit_scale=7.0)
        torch.testing.assert_close(loss, expected)

    def test_other_positives_of_batch_and_queue_are_not_candidates(self):
        queries, keys, queue = unit_vectors(3), unit_vectors(3, 1), unit_vectors(2, 2)
        positives, negatives = PAIRS.clone(), torch.ones(3, 2, dtype=torch.bool)
        positives[0, 1], negatives[0, 1] = True, False
        logits = queries @ torch.cat([keys, queue]).T
        rest = cross_entropy(logits[1:], torch.tensor([1, 2]), reduction="sum")
        expected = (cross_entropy(logits[0, [0, 2, 3]], torch.tensor(0)) + rest) / 3
        loss = momentum_queue_loss(
            queries, keys, queue, positives=positives, queue_negatives=negatives, logit_scale=1.0
        )
        torch.testing.assert_close(loss, expected)

    def test_gradcheck(self):
        keys, queue, negatives = unit_vectors(3, 1), unit_vectors(2, 2), torch.ones(3, 2, dtype=torch.bool)
        assert torch.autograd.gradcheck(
            lambda q: momentum_queue_loss(q, keys, queue, positives=PAIRS, queue_negatives=negatives, logit_scale=2.0),
            unit_vectors(3).requires_grad_(),
        )


class TestQueue:
    def test_first_in_first_out(self):
        """Queue of six: two batches of three, then two pairs that replace the oldest two."""
        loss = queue_of(6)
        for seed, images in enumerate([[0, 1, 2], [3, 4, 5], [6, 7]]):
            newest = fill(loss, images, seed)
        assert loss.image_index.tolist() == [6, 7, 2, 3, 4, 5]
        assert loss.text_group.tolist() == [6, 7, 2, 3, 4, 5]
        torch.testing.assert_close(loss.image_queue[:2], normalize(newest.keys.images.pooled))
        torch.testing.assert_close(loss.text_queue[:2], normalize(newest.keys.texts.pooled))

    def test_position_wraps_around(self):
        loss = queue_of(4)
        for images in ([0, 1, 2], [3, 4, 5], [6, 7, 8]):
            fill(loss, images)
        assert loss.image_index.tolist() == [8, 5, 6, 7]

    def test_batch_larger_than_the_queue_keeps_its_last_pairs(self):
        loss = queue_of(2)
        fill(loss, [0, 1, 2, 3, 4])
        assert sorted(loss.image_index.tolist()) == [3, 4]

    def test_second_batch_has_the_first_as_negatives(self):
        loss, context = queue_of(temperature=0.5), random_context(3)
        images, texts = normalize(context.images.pooled), normalize(context.texts.pooled)
        first = with_keys(context, [0, 1, 2], [0, 1, 2], seed=5)
        second = with_keys(context, [3, 4, 5], [3, 4, 5], seed=6)
        loss(LossInputs(SCORES, PAIRS, first))
        found = loss(LossInputs(SCORES, PAIRS, second)).total
        old, new = first.keys, second.keys
        text_keys = normalize(torch.cat([new.texts.pooled, old.texts.pooled]))
        image_keys = normalize(torch.cat([new.images.pooled, old.images.pooled]))
        expected = cross_entropy(2 * images @ text_keys.T, torch.arange(3))
        expected += cross_entropy(2 * texts @ image_keys.T, torch.arange(3))
        torch.testing.assert_close(found, expected / 2)

    def test_queued_pairs_of_the_same_image_or_text_are_not_negatives(self):
        loss, context = queue_of(), random_context(3)
        loss(LossInputs(SCORES, PAIRS, with_keys(context, [0, 1, 2], [0, 1, 2])))
        loss(LossInputs(SCORES, PAIRS, with_keys(context, [0, 8, 9], [7, 1, 9])))
        assert loss._queue_counts.tolist() == [2, 2, 3]

    def test_queue_continues_from_its_state(self):
        loss, resumed = queue_of(4), queue_of(4)
        fill(loss, [0, 1, 2])
        resumed.load_state_dict(loss.state_dict())
        for each in (loss, resumed):
            fill(each, [3, 4, 5], seed=1)
        assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in loss.state_dict().items())


class TestValidation:
    def test_enqueues_nothing_and_uses_the_whole_queue(self):
        loss = queue_of()
        fill(loss, [0, 1, 2])
        before = {name: value.clone() for name, value in loss.state_dict().items()}
        loss(LossInputs(SCORES, PAIRS, random_context(3)))
        assert loss._queue_counts.tolist() == [3, 3, 3]
        assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())

    @pytest.mark.parametrize("other_positives", [[], [(0, 1)], [(2, 0), (2, 1)]])
    def test_with_an_empty_queue_it_equals_info_nce_of_the_cosines(self, other_positives):
        context, positives = random_context(3), PAIRS.clone()
        for row, column in other_positives:
            positives[row, column] = True
        cosines = normalize(context.images.pooled) @ normalize(context.texts.pooled).T
        expected = InfoNCELoss(temperature=0.07)(LossInputs(cosines, positives)).total
        torch.testing.assert_close(queue_of()(LossInputs(SCORES, positives, context)).total, expected)


def test_equal_embeddings_give_the_collapse_value():
    """Candidates: two rows have 3 queued + 3 in the batch, one has 2 queued + 3 in the batch."""
    loss = queue_of()
    fill(loss, [0, 1, 2])
    loss.image_queue.fill_(0.5)
    loss.text_queue.fill_(0.5)
    same = Encoded(pooled=torch.full((3, 4), 0.5))
    context = with_keys(random_context(3), [0, 4, 5], [3, 4, 5])._replace(images=same, texts=same)
    context = context._replace(keys=context.keys._replace(images=same, texts=same))
    found = loss(LossInputs(SCORES, PAIRS, context)).total.item()
    assert found == pytest.approx((2 * math.log(6) + math.log(5)) / 3, rel=1e-5)
    assert loss.collapse_value(LossInputs(SCORES, PAIRS, context)) == pytest.approx(found, rel=1e-5)


class TestInvalid:
    def test_model_without_pooled_embeddings_is_refused(self):
        with pytest.raises(ConfigError, match=r"loss MomentumQueueLoss compares one vector .* this model has none"):
            queue_of()(LossInputs(SCORES, PAIRS, without_pooled(random_context(3))))

    def test_embeddings_of_another_dimension(self):
        with pytest.raises(ConfigError, match=r"embed_dim is 4, .* have 6 dimensions; set it to 6"):
            queue_of()(LossInputs(SCORES, PAIRS, random_context(3, 6)))

    @pytest.mark.parametrize(
        ("setting", "value", "message"),
        [
            ("queue_size", 0, r"queue_size=0 is outside \[1, "),
            ("key_momentum", 1, r"key_momentum=1 is outside \[0, 0\.999999\]"),
        ],
    )
    def test_out_of_range(self, setting, value, message):
        with pytest.raises(ConfigError, match=message):
            MomentumQueueLoss(**({"embed_dim": 4} | {setting: value}))
