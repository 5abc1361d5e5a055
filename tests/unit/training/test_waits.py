"""Between logged steps no model and no loss makes the host wait for the device, counted on a CPU."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from helpers.random_pairs import random_pairs
from helpers.small_matchers import SMALL, small_matcher
from helpers.small_runs import small_data, small_module
from helpers.stub_matchers import PooledMatcher
from helpers.waits import no_waits, on_meta
from tangka_match.losses import (
    AlignmentUniformityLoss,
    BlendLoss,
    CurriculumLoss,
    HALLoss,
    InfoNCELoss,
    MomentumQueueLoss,
    MultiPositiveInfoNCELoss,
    SigmoidLoss,
    SoftLabelLoss,
    TripletMarginLoss,
)
from tangka_match.training.augmentation import RegionWordDrop
from tangka_match.training.callbacks.guard import TrainingGuard
from tangka_match.types import RegionTextBatch

TOKENS_ONLY = {"scan_t2i", "scan_i2t", "cross_modal_transformer"}
POOLED = {
    "alignment_uniformity": AlignmentUniformityLoss,
    "momentum_queue": lambda: MomentumQueueLoss(embed_dim=8, queue_size=12),
}
LOSSES = {
    "info_nce": InfoNCELoss,
    "multi_positive": MultiPositiveInfoNCELoss,
    "soft_label": SoftLabelLoss,
    "sigmoid": SigmoidLoss,
    "hal": HALLoss,
    "triplet": TripletMarginLoss,
    "curriculum": lambda: CurriculumLoss(until=0.5),
    "blend": lambda: BlendLoss({"a": InfoNCELoss(), "b": TripletMarginLoss()}, {"a": 1.0, "b": [0.0, 1.0]}),
}
CONTEXTS = ("vse", "scan_t2i")  # a loss sees scores, embeddings and words only
PAIRS = [(model, loss) for model in SMALL for loss in LOSSES | ({} if model in TOKENS_ONLY else POOLED)]


def batch_of(device="cpu"):
    data = random_pairs(1, images=5, captions=5, words=7)
    index, lengths = torch.arange(5), tuple(data.token_mask.sum(1).tolist())
    tensors = (part.to(device) for part in (*data, index, index, index % 4))
    return RegionTextBatch(*tensors, lengths=lengths)


def module_of(model, loss, device="cpu", **settings):
    """Return a module with a fake trainer, at a step that is not logged."""
    matcher = small_matcher(model) if isinstance(model, str) else model
    module = small_module(matcher, (LOSSES | POOLED)[loss](), **settings).to(device)
    module.train()
    module.trainer = SimpleNamespace(
        world_size=1,
        global_step=3,
        current_epoch=0,
        precision_plugin=None,
        estimated_stepping_batches=100,
        log_every_n_steps=50,
    )
    return module


def step(module, batch):
    loss = module.training_step(batch, 0)
    loss.backward()
    nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    return loss


@pytest.mark.parametrize(("model", "loss"), PAIRS)
def test_a_training_step_does_not_wait(model, loss):
    module, batch = module_of(model, loss), batch_of()
    with no_waits():
        step(module, batch)
    assert any(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize(("model", "loss"), [pair for pair in PAIRS if pair[0] in CONTEXTS or pair[1] == "info_nce"])
def test_a_training_step_neither_mixes_devices_nor_asks_for_a_value(model, loss):
    """On the meta device tensors have no values."""
    module = module_of(model, loss, "meta")
    with on_meta():
        assert step(module, batch_of("meta")).is_meta


def test_batches_carry_the_lengths_that_their_mask_says(tmp_path):
    data = small_data(tmp_path)
    data.setup()
    for batch in data.train_dataloader():
        assert batch.lengths == tuple(batch.token_mask.sum(1).tolist())


def test_dropped_words_are_drawn_on_the_host():
    augmented = RegionWordDrop(0.5, 0.5)(batch_of("meta"))
    assert augmented.token_ids.is_meta and augmented.token_mask.is_meta
    assert sum(augmented.lengths) < sum(batch_of().lengths)
    here = RegionWordDrop(0.0, 0.5)(batch_of())
    assert here.lengths == tuple(here.token_mask.sum(1).tolist())


@pytest.mark.parametrize("model", SMALL)
def test_lengths_change_no_score_and_no_gradient(model):
    batch = batch_of()
    found = []
    for known in (batch, batch._replace(lengths=None)):
        module = module_of(model, "info_nce")
        loss = step(module, known)
        found.append([loss, *(p.grad for p in module.parameters() if p.grad is not None)])
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_compiled_matchers_are_not_given_lengths():
    module = module_of("sgr", "info_nce")
    module.matcher.reads_lengths = False
    with pytest.raises(AssertionError, match=r"wait|copied"), no_waits():
        step(module, batch_of())


def test_the_guard_reads_no_loss_between_logged_steps():
    guard, module = TrainingGuard(print), SimpleNamespace()
    trainer = SimpleNamespace(
        global_step=3,
        accumulate_grad_batches=1,
        num_training_batches=100,
        estimated_stepping_batches=100,
        log_every_n_steps=50,
    )
    with no_waits():
        guard.on_train_batch_end(trainer, module, {"loss": torch.tensor(float("nan"))}, None, 0)


def test_matchers_without_lengths_are_called_as_before():
    module = module_of(PooledMatcher(10, 4, 30), "triplet")
    assert step(module, batch_of()).isfinite()
