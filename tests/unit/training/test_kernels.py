"""Few kernels per training step, so that a GPU has enough work for the host to keep ahead of it."""

import pytest

from helpers.kernels import FEATURES, NARROWER, REGIONS, VOCABULARY, kernels_of_step
from tangka_match.losses import InfoNCELoss
from tangka_match.models import SGRAF
from tangka_match.models.sgraf import similarity

KERNELS_BEFORE = {"sgr": 2752, "saf": 2387}
"""Those of commit 9c25d38, as experiments/2026-11-29_gpus-and-clusters/counts.py prints them with its sources."""


def kernels(reasoning):
    widths = {"embed_dim": 1024 // NARROWER, "word_dim": 300 // NARROWER, "sim_dim": 256 // NARROWER}
    sizes = {"vocab_size": VOCABULARY, "feature_dim": FEATURES, "num_regions": REGIONS}
    return kernels_of_step(SGRAF(reasoning=reasoning, **widths, **sizes), InfoNCELoss())


@pytest.mark.parametrize("reasoning", ["sgr", "saf"])
def test_sgraf_runs_at_most_two_fifths_of_the_kernels_that_it_had(monkeypatch, reasoning):
    found = kernels(reasoning)
    assert found.counts["recurrent layer"] == 2  # forward and backward
    assert found.counts.total() <= 0.4 * KERNELS_BEFORE[reasoning], found.counts.most_common(20)
    assert not found.waits
    monkeypatch.setattr(similarity, "GROUPS_ON_GPU", None)  # equal lengths only, as before
    assert kernels(reasoning).counts.total() > KERNELS_BEFORE[reasoning] / 2
