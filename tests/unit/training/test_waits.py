"""Between logged steps no model and no loss makes the host wait for the device, counted on a CPU."""

from types import SimpleNamespace

import pytest
import torch

from helpers.lone_steps import PAIRS, batch_of, module_of, step
from helpers.small_matchers import SMALL
from helpers.small_runs import small_data
from helpers.stub_matchers import PooledMatcher
from helpers.waits import no_waits, on_meta
from tangka_match.training.augmentation import RegionWordDrop
from tangka_match.training.callbacks.guard import TrainingGuard

CONTEXTS = ("vse", "scan_t2i")  # a loss sees scores, embeddings and words only


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
