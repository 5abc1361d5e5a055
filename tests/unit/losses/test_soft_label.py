import math

import pytest
import torch

from helpers.pair_contexts import random_context
from tangka_match.errors import ConfigError
from tangka_match.losses import (
    LossInputs,
    SoftLabelLoss,
    multi_positive_info_nce_loss,
    soft_label_loss,
)
from tangka_match.ops import tfidf_overlap

PAIRS = torch.eye(5, dtype=torch.bool)
OVERLAP = torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def random_scores(seed=0):
    return torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_worked_by_hand():
    """Overlaps (1, 0) with temperature 1 / log 3 give 3 : 1; with the hard half the target is 7/8 and 1/8."""
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    overlap = torch.tensor([[0.2, 0.0], [0.0, 0.9]], dtype=torch.float64)  # the diagonal is set to 1
    loss = soft_label_loss(
        scores, torch.eye(2, dtype=torch.bool), overlap, 1.0, soft_share=0.5, target_temperature=1 / math.log(3)
    )
    assert loss.item() == pytest.approx(math.log(math.e + 1) - 7 / 8)


def test_equals_multi_positive_info_nce_without_a_soft_share():
    positives = PAIRS.clone()
    positives[0, 3] = positives[3, 0] = positives[1, 2] = True
    expected = multi_positive_info_nce_loss(random_scores(), positives, 2.0)
    loss = soft_label_loss(random_scores(), positives, OVERLAP, 2.0, soft_share=0.0, target_temperature=0.1)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("soft_share", [0.0, 0.3])
def test_captions_of_one_image_do_not_repel_each_other(soft_share):
    """Rows 0 and 1 are one image with two captions; only the third caption is its negative."""
    positives = torch.eye(3, dtype=torch.bool)
    positives[:2, :2] = True
    scores = torch.tensor([[0.5, 0.2, 0.0], [0.5, 0.2, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64, requires_grad=True)
    soft_label_loss(
        scores, positives, torch.zeros(3, 3).double(), 1.0, soft_share=soft_share, target_temperature=0.05
    ).backward()
    # Both captions of the image gain; the one with the lower score gains more.
    assert scores.grad[0, 1] < scores.grad[0, 0] < 0
    assert scores.grad[0, 2] > 0


def test_low_target_temperature_restricts_the_target_to_positives():
    positives = PAIRS.clone()
    positives[0, 3] = positives[3, 0] = True
    expected = multi_positive_info_nce_loss(random_scores(), positives, 2.0)
    loss = soft_label_loss(random_scores(), positives, 0.5 * OVERLAP, 2.0, soft_share=1.0, target_temperature=0.001)
    torch.testing.assert_close(loss, expected)


def test_transposing_all_inputs_changes_nothing():
    positives = PAIRS.clone()
    positives[0, 3] = True
    settings = {"soft_share": 0.7, "target_temperature": 0.3}
    loss = soft_label_loss(random_scores(), positives, OVERLAP, 2.0, **settings)
    torch.testing.assert_close(soft_label_loss(random_scores().T, positives.T, OVERLAP.T, 2.0, **settings), loss)


def test_gradcheck():
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda s, a: soft_label_loss(s, PAIRS, OVERLAP, a, soft_share=0.4, target_temperature=0.2),
        (random_scores().requires_grad_(), scale),
    )


class TestModule:
    def test_computes_the_overlap_from_the_captions_of_the_context(self):
        context = random_context(5)
        loss = SoftLabelLoss(soft_share=0.4, target_temperature=0.2, temperature=0.5, learn_temperature=False)
        overlap = tfidf_overlap(context.token_ids, context.token_mask)
        assert 0 < overlap[0, 1] < 1
        scores = random_scores().float()
        expected = soft_label_loss(scores, PAIRS, overlap, 2.0, soft_share=0.4, target_temperature=0.2)
        torch.testing.assert_close(loss(LossInputs(scores, PAIRS, context)).total, expected)

    @pytest.mark.parametrize(
        ("setting", "value", "message"),
        [
            ("soft_share", 1.5, r"soft_share=1\.5 is outside \[0, 1\]"),
            ("target_temperature", 0, r"target_temperature=0 is outside \[0\.001, 100\]"),
        ],
    )
    def test_out_of_range(self, setting, value, message):
        with pytest.raises(ConfigError, match=message):
            SoftLabelLoss(**{setting: value})
