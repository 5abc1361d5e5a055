"""One update of ``+experiment=sgraf_sgr`` equals one update of the published training code."""

import copy

import pytest
import torch
from torch import nn

from helpers.configs import compose_config
from helpers.random_pairs import random_pairs
from helpers.small_matchers import small_matcher
from tangka_match.config.build import build_plan
from tangka_match.losses import LossInputs
from tangka_match.training.optimisation import parameter_groups


def published_loss(scores: torch.Tensor, margin: float = 0.2) -> torch.Tensor:
    """``ContrastiveLoss`` of Paranioar/SGRAF (``model.py``) with ``max_violation``."""
    diagonal = scores.diag().view(scores.size(0), 1)
    cost_s = (margin + scores - diagonal.expand_as(scores)).clamp(min=0)
    cost_im = (margin + scores - diagonal.t().expand_as(scores)).clamp(min=0)
    own = torch.eye(scores.size(0)) > 0.5
    cost_s, cost_im = cost_s.masked_fill(own, 0), cost_im.masked_fill(own, 0)
    return cost_s.max(1)[0].sum() + cost_im.max(0)[0].sum()


@pytest.mark.parametrize("batch_size", [8, 128])
def test_update(batch_size):
    plan = build_plan(compose_config("+experiment=sgraf_sgr"))
    data = random_pairs(seed=1, images=batch_size, captions=batch_size, words=4)
    data = data._replace(regions=data.regions.double())
    ours = small_matcher("sgr").double().train()
    published = copy.deepcopy(ours)

    loss = plan.build_loss()
    optimizer = plan.optimizer(parameter_groups(ours, loss, {}))
    theirs = torch.optim.Adam(published.parameters(), lr=2e-4)
    positives = torch.eye(batch_size, dtype=torch.bool)
    for _ in range(2):
        optimizer.zero_grad()
        loss(LossInputs(data.score(ours), positives)).total.backward()
        nn.utils.clip_grad_norm_(ours.parameters(), plan.settings.trainer.gradient_clip_val)
        optimizer.step()

        theirs.zero_grad()
        published_loss(data.score(published)).backward()
        nn.utils.clip_grad_norm_(published.parameters(), 2.0)
        theirs.step()
    for (name, one), other in zip(ours.named_parameters(), published.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9, msg=name)


def test_short_last_batch_is_kept():
    assert build_plan(compose_config("+experiment=sgraf_sgr")).data.drop_last is False
