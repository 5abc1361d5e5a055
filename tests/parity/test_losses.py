"""Triplet loss against batch sums of the published SGRAF code (shared/fixtures/README.md)."""

import numpy as np
import pytest
import torch

from helpers.shared import SHARED, needs_shared
from tangka_match.losses import triplet_margin_loss

pytestmark = needs_shared

MARGIN = 0.2


@pytest.mark.parametrize("name", ["saf_bigru", "saf_nonorm", "sgr_bigru", "sgr_gru_step2"])
@pytest.mark.parametrize("kind", ["sum", "max"])
def test_triplet_loss_equals_published_batch_sums(name, kind):
    with np.load(SHARED / "fixtures" / f"{name}.npz") as fixture:
        scores = torch.from_numpy(fixture["train/sims"])
        published = float(fixture[f"train/loss_{kind}"])
    size = len(scores)
    factor, hardness = (2 * size * (size - 1), 0.0) if kind == "sum" else (2 * size, 1.0)
    loss = triplet_margin_loss(scores, torch.eye(size, dtype=torch.bool), MARGIN, hardness)
    assert factor * loss.item() == pytest.approx(published, abs=1e-4)
