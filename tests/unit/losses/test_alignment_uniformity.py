import math

import pytest
import torch

from helpers.pair_contexts import random_context, without_pooled
from tangka_match.errors import ConfigError
from tangka_match.losses import (
    AlignmentUniformityLoss,
    LossInputs,
    alignment_loss,
    uniformity_loss,
)
from tangka_match.ops import l2_normalise
from tangka_match.types import Encoded

PAIRS = torch.eye(5, dtype=torch.bool)
CROSS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)


def unit_vectors(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return l2_normalise(torch.randn(5, 3, dtype=torch.float64, generator=generator))


def test_alignment_worked_by_hand():
    """Squared distances 0, 2 and 4."""
    others = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert alignment_loss(CROSS, others).item() == pytest.approx(2.0)


def test_uniformity_worked_by_hand():
    """Squared distances 2, 2 and 4; without the first pair 2 and 4."""
    pairs = torch.eye(3, dtype=torch.bool)
    expected = math.log((2 * math.exp(-2) + math.exp(-4)) / 3)
    assert uniformity_loss(CROSS, pairs, 1.0).item() == pytest.approx(expected)
    pairs[0, 1] = pairs[1, 0] = True
    expected = math.log((math.exp(-2) + math.exp(-4)) / 2)
    assert uniformity_loss(CROSS, pairs, 1.0).item() == pytest.approx(expected)


def test_uniformity_against_pdist():
    expected = torch.pdist(unit_vectors()).square().mul(-2).exp().mean().log()
    torch.testing.assert_close(uniformity_loss(unit_vectors(), PAIRS, 2.0), expected)


def test_gradcheck():
    vectors = unit_vectors().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: uniformity_loss(v, PAIRS, 2.0), vectors)
    assert torch.autograd.gradcheck(alignment_loss, (vectors, unit_vectors(1).requires_grad_()))


@pytest.mark.parametrize("positives", [torch.ones(5, 5, dtype=torch.bool), PAIRS], ids=["nothing to spread", "equal"])
def test_uniformity_of_no_pair_or_equal_embeddings_is_zero_with_finite_gradients(positives):
    vectors = torch.ones(5, 4, requires_grad=True)
    loss = uniformity_loss(vectors, positives, 2.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert vectors.grad.isfinite().all()


class TestModule:
    def test_is_the_weighted_sum_over_normalised_embeddings(self):
        context = random_context(5, dtype=torch.float64)
        images, texts = l2_normalise(context.images.pooled), l2_normalise(context.texts.pooled)
        result = AlignmentUniformityLoss(0.5, 2.0, spread=3.0)(LossInputs(torch.zeros(5, 5), PAIRS, context))
        uniformity = (uniformity_loss(images, PAIRS, 3.0) + uniformity_loss(texts, PAIRS, 3.0)) / 2
        torch.testing.assert_close(result.terms["uniformity"], uniformity)
        torch.testing.assert_close(result.total, 0.5 * alignment_loss(images, texts) + 2 * uniformity)
        assert sum(result.weighted.values()) == result.total

    def test_equal_embeddings_give_the_collapse_value(self):
        same = Encoded(pooled=torch.ones(5, 4))
        context = random_context(5)._replace(images=same, texts=same)
        inputs = LossInputs(torch.zeros(5, 5), PAIRS, context)
        found = AlignmentUniformityLoss()(inputs).total.item()
        assert found == pytest.approx(AlignmentUniformityLoss().collapse_value(inputs), abs=1e-6)

    def test_part_with_weight_zero_has_no_weighted_term(self):
        result = AlignmentUniformityLoss(alignment_weight=0)(LossInputs(torch.zeros(5, 5), PAIRS, random_context(5)))
        assert list(result.weighted) == ["uniformity"]

    def test_model_without_pooled_embeddings_is_refused(self):
        with pytest.raises(
            ConfigError, match=r"loss AlignmentUniformityLoss compares one vector .* this model has none"
        ):
            AlignmentUniformityLoss()(LossInputs(torch.zeros(5, 5), PAIRS, without_pooled(random_context(5))))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"alignment_weight": -1}, r"alignment_weight=-1 is outside \[0, inf\]"),
            ({"uniformity_weight": -1}, r"uniformity_weight=-1 is outside \[0, inf\]"),
            ({"alignment_weight": 0, "uniformity_weight": 0}, r"alignment_weight=0 and uniformity_weight=0"),
            ({"spread": 0}, r"spread=0 is outside \[0\.01, 100\]"),
        ],
    )
    def test_out_of_range(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            AlignmentUniformityLoss(**settings)
