from functools import partial
from types import SimpleNamespace

import pytest
import torch

from helpers.pair_contexts import at_progress
from helpers.small_runs import quiet_trainer, small_data, small_module
from helpers.stub_matchers import PooledMatcher
from tangka_match.losses import (
    AlignmentUniformityLoss,
    BlendLoss,
    CurriculumLoss,
    InfoNCELoss,
    LossContext,
    LossInputs,
    LossTerms,
    MomentumQueueLoss,
    SoftLabelLoss,
    positive_mask,
    triplet_margin_loss,
)
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.retrieval.metadata import METADATA_KEY
from tangka_match.training.augmentation import RegionWordDrop
from tangka_match.training.loss_hooks import LossHook
from tangka_match.types import CaptionBatch, ImageBatch, RegionTextBatch


def pairs(count=4, image_index=None, text_group=None, dtype=torch.float32):
    generator, index = torch.Generator().manual_seed(1), torch.arange(count)
    return RegionTextBatch(
        regions=torch.randn(count, 3, 8, generator=generator).to(dtype),
        region_mask=torch.ones(count, 3, dtype=torch.bool),
        token_ids=torch.randint(4, 60, (count, 5), generator=generator),
        token_mask=torch.ones(count, 5, dtype=torch.bool),
        image_index=index if image_index is None else torch.tensor(image_index),
        caption_index=index,
        text_group=index if text_group is None else torch.tensor(text_group),
    )


def attach(module, *, step=0, total=10, every=1, fn="fit"):
    """Attach a fake trainer, switch dropout off, and return the dict of logged values."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    module.eval()
    module.trainer = SimpleNamespace(
        world_size=1,
        global_step=step,
        current_epoch=0,
        estimated_stepping_batches=total,
        precision_plugin=None,
        log_every_n_steps=every,
        optimizers=[torch.optim.SGD([parameter], lr=0.125)],
        state=SimpleNamespace(fn=fn),
    )
    logged = {}
    module.log = lambda name, value, **_: logged.__setitem__(name, float(value))
    module.log_dict = lambda values: logged.update({name: float(value) for name, value in values.items()})
    return logged


def scores(module, batch):
    images = module.matcher.encode_images(batch.regions.float(), batch.region_mask)
    return module.matcher.similarity(images, module.matcher.encode_texts(batch.token_ids, batch.token_mask))


def validate(module, batch):
    module.on_validation_epoch_start()
    module.validation_step(ImageBatch(batch.regions, batch.region_mask, batch.image_index), 0, 0)
    module.validation_step(CaptionBatch(batch.token_ids, batch.token_mask, batch.caption_index), 0, 1)
    module.on_validation_epoch_end()


def test_training_step_returns_the_loss_of_the_batch():
    module, batch = small_module(), pairs()
    attach(module)
    expected = triplet_margin_loss(scores(module, batch), torch.eye(4, dtype=torch.bool), 0.2, 0.0)
    assert torch.equal(module.training_step(batch, 0), expected)


def test_pairs_that_share_image_or_text_are_not_negatives():
    module, batch = small_module(), pairs(image_index=[0, 0, 1, 2], text_group=[0, 1, 2, 2])
    attach(module)
    positives = torch.eye(4, dtype=torch.bool)
    positives[0, 1] = positives[1, 0] = positives[2, 3] = positives[3, 2] = True
    expected = triplet_margin_loss(scores(module, batch), positives, 0.2, 0.0)
    assert torch.equal(module.training_step(batch, 0), expected)


def test_half_precision_features_are_cast_to_float32():
    module, batch = small_module(), pairs(dtype=torch.float16)
    attach(module)
    assert module.training_step(batch, 0).dtype == torch.float32


def test_training_batches_are_augmented():
    module, batch = small_module(augmentation=RegionWordDrop(0.6, 0.6)), pairs()
    attach(module)
    torch.manual_seed(0)
    expected = scores(module, RegionWordDrop(0.6, 0.6)(batch))
    torch.manual_seed(0)
    loss = module.training_step(batch, 0)
    assert torch.equal(loss, triplet_margin_loss(expected, torch.eye(4, dtype=torch.bool), 0.2, 0.0))
    assert not torch.equal(expected, scores(module, batch))


@pytest.mark.parametrize(("step", "progress"), [(0, 0.0), (5, 0.5), (10, 1.0), (11, 1.0)])
def test_progress_is_the_share_of_steps_taken(step, progress):
    attach(module := small_module(), step=step)
    assert module.progress == progress


def test_training_step_logs_loss_spread_and_learning_rate():
    module, batch = small_module(), pairs()
    logged = attach(module)
    loss = module.training_step(batch, 0)
    assert set(logged) == {"train/loss", "train/similarity_std", "train/lr"}
    assert logged["train/loss"] == loss.item()
    assert logged["train/lr"] == 0.125
    assert logged["train/similarity_std"] == pytest.approx(scores(module, batch).std(correction=0).item())


class Plus(LossHook):
    """Hook that adds a constant to the loss and has a state."""

    name = "plus"

    def __init__(self, value):
        self.value = value

    def after_loss(self, terms, inputs, step):
        return terms._replace(total=terms.total + self.value)

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state_dict):
        self.value = state_dict["value"]


def test_matching_loss_for_the_guard_excludes_hooks():
    alone, both, batch = small_module(), small_module(hooks=[Plus(5.0)]), pairs()
    attach(alone)
    attach(both)
    loss = alone.training_step(batch, 0)
    assert both.training_step(batch, 0).item() == pytest.approx(loss.item() + 5.0)
    assert both.matching_loss == alone.matching_loss == loss.item()


def test_loss_of_several_parts_logs_parts_values_and_gradient_shares():
    module = small_module(loss=CurriculumLoss())
    logged = attach(module)
    module.training_step(pairs(), 0)
    terms = at_progress(CurriculumLoss(), 0.0)(LossInputs(torch.eye(4), torch.eye(4, dtype=torch.bool)))
    assert len(terms.terms) == 2
    assert {f"train/{name}" for name in (*terms.terms, *terms.values)} < set(logged)
    assert sum(logged[f"train/grad_share_{name}"] for name in terms.terms) == pytest.approx(100)


def encoded(module, batch):
    images = module.matcher.encode_images(batch.regions.float(), batch.region_mask)
    return images, module.matcher.encode_texts(batch.token_ids, batch.token_mask)


def test_loss_context_holds_captions_before_augmentation():
    module, batch = small_module(loss=SoftLabelLoss(), augmentation=RegionWordDrop(0.0, 0.6)), pairs()
    attach(module)
    torch.manual_seed(0)
    dropped = RegionWordDrop(0.0, 0.6)(batch)
    context = LossContext(*encoded(module, dropped), batch.token_ids, batch.token_mask)
    expected = module.loss(LossInputs(scores(module, dropped), torch.eye(4, dtype=torch.bool), context)).total
    torch.manual_seed(0)
    assert torch.equal(module.training_step(batch, 0), expected)
    context = context._replace(token_ids=dropped.token_ids, token_mask=dropped.token_mask)
    assert module.loss(LossInputs(scores(module, dropped), torch.eye(4, dtype=torch.bool), context)).total != expected


def test_momentum_keys_are_enqueued():
    module, batch = small_module(loss=MomentumQueueLoss(embed_dim=4, queue_size=4)), pairs(image_index=[5, 6, 7, 8])
    attach(module)
    module.training_step(batch, 0)
    torch.testing.assert_close(module.loss.text_queue, encoded(module, batch)[1].pooled.detach())
    assert module.loss.image_index.tolist() == [5, 6, 7, 8]


def test_gradient_shares_include_parts_that_read_embeddings():
    parts = {"nce": InfoNCELoss(), "uniform": AlignmentUniformityLoss()}
    module = small_module(loss=BlendLoss(parts, {"nce": 1.0, "uniform": 1.0}))
    logged = attach(module)
    module.training_step(pairs(), 0)
    shares = {name: value for name, value in logged.items() if "grad_share" in name}
    assert len(shares) == 3
    assert all(share > 1 for share in shares.values())
    assert sum(shares.values()) == pytest.approx(100)


def test_validation_loss_selects_the_context_of_each_block():
    loss = BlendLoss({"soft": SoftLabelLoss(), "uniform": AlignmentUniformityLoss()}, {"soft": 1.0, "uniform": 1.0})
    module, batch = small_module(loss=loss, val_caption_to_image=torch.arange(8), val_block=4), pairs(8)
    logged = attach(module)
    validate(module, batch)
    expected = []
    for block in (slice(0, 8, 2), slice(1, 8, 2)):
        part = RegionTextBatch(*(value if value is None else value[block] for value in batch))
        context = LossContext(*encoded(module, part), part.token_ids, part.token_mask)
        expected.append(loss(LossInputs(scores(module, part), torch.eye(4, dtype=torch.bool), context)).total.item())
    assert logged["val/loss"] == pytest.approx(sum(expected) / 2, rel=1e-5)


def test_steps_between_logged_steps_log_nothing():
    module = small_module()
    for step, logs in ((0, False), (4, True), (5, False), (9, True)):
        logged = attach(module, step=step, every=5)
        module.training_step(pairs(), 0)
        assert bool(logged) == logs


def test_only_matrices_get_weight_decay():
    module = small_module(PooledMatcher(8, 4, 60), InfoNCELoss(learn_temperature=True))
    module.matcher.bias = torch.nn.Parameter(torch.zeros(4))
    module.matcher.frozen = torch.nn.Parameter(torch.zeros(4, 4), requires_grad=False)
    module._make_optimizer = partial(torch.optim.AdamW, lr=0.5, weight_decay=0.1)
    attach(module)
    matrices, others = module.configure_optimizers()["optimizer"].param_groups
    assert (matrices["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert {id(p) for p in matrices["params"]} == {id(module.matcher.project), id(module.matcher.words)}
    assert {id(p) for p in others["params"]} == {id(module.matcher.bias), *map(id, module.loss.parameters())}
    assert len(others["params"]) == 2


def test_learning_rate_schedule_covers_all_steps():
    totals = []

    def schedule(optimizer, total_steps):
        totals.append(total_steps)
        return torch.optim.lr_scheduler.ConstantLR(optimizer)

    module = small_module(scheduler=schedule)
    attach(module, total=70)
    assert module.configure_optimizers()["lr_scheduler"]["interval"] == "step"
    assert totals == [70]


@pytest.mark.parametrize(("limit", "kept"), [(None, 5.0), (2.0, 2.0), (9.0, 5.0)])
def test_gradient_norm_is_clipped_and_logged_before_clipping(limit, kept):
    module = small_module()
    logged = attach(module)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    module.matcher.project.grad[0, 0], module.matcher.words.grad[0, 0] = 3.0, 4.0
    module.configure_gradient_clipping(torch.optim.SGD(module.parameters()), limit, "norm")
    assert logged == {"train/grad_norm": 5.0}
    norm = torch.stack([p.grad.norm() for p in module.parameters()]).norm()
    assert norm.item() == pytest.approx(kept, rel=1e-5)


def test_validation_logs_the_metrics_of_the_whole_gallery():
    module, batch = small_module(val_caption_to_image=torch.arange(12)), pairs(12)
    logged = attach(module)
    validate(module, batch)
    ranks = retrieval_ranks(scores(module, batch).detach(), torch.arange(12))
    expected = {f"val/{name}": value for name, value in summarise(ranks).items()}
    assert {name: value for name, value in logged.items() if name != "val/loss"} == pytest.approx(expected)


def test_second_validation_starts_empty():
    module, batch = small_module(val_caption_to_image=torch.arange(4)), pairs()
    attach(module)
    for _ in range(2):
        validate(module, batch)
    assert len(torch.cat(module.val_metrics.i2t)) == 4


def test_validation_loss_is_the_mean_over_blocks_of_batch_size():
    """Ten captions, blocks of four: two interleaved blocks, and two captions are left over."""
    module, batch = small_module(val_caption_to_image=torch.arange(10), val_block=4), pairs(10)
    logged = attach(module)
    validate(module, batch)
    matrix, eye = scores(module, batch), torch.eye(4, dtype=torch.bool)
    blocks = [triplet_margin_loss(matrix[s, s], eye, 0.2, 0.0) for s in (slice(0, 8, 2), slice(1, 8, 2))]
    assert logged["val/loss"] == pytest.approx(float(sum(blocks).detach() / 2), rel=1e-5)


def test_validation_loss_of_a_gallery_smaller_than_a_batch():
    module, batch = small_module(val_caption_to_image=torch.arange(3), val_block=4), pairs(3)
    logged = attach(module)
    validate(module, batch)
    expected = triplet_margin_loss(scores(module, batch), torch.eye(3, dtype=torch.bool), 0.2, 0.0)
    assert logged["val/loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_validation_loss_masks_captions_of_the_same_image():
    rows = torch.tensor([0, 0, 1, 1])
    module, batch = small_module(val_caption_to_image=rows), pairs()
    logged = attach(module)
    module.on_validation_epoch_start()
    module.validation_step(ImageBatch(batch.regions[:2], batch.region_mask[:2], rows[:2]), 0, 0)
    module.validation_step(CaptionBatch(batch.token_ids, batch.token_mask, batch.caption_index), 0, 1)
    module.on_validation_epoch_end()
    matrix = scores(module, batch)[:2][rows]
    expected = triplet_margin_loss(matrix, positive_mask(rows, torch.arange(4)), 0.2, 0.0)
    assert logged["val/loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_validation_loss_masks_equal_texts():
    texts = torch.tensor([0, 1, 1, 2])
    module, batch = small_module(val_caption_to_image=torch.arange(4), val_text_group=texts), pairs()
    logged = attach(module)
    validate(module, batch)
    expected = triplet_margin_loss(scores(module, batch), positive_mask(torch.arange(4), texts), 0.2, 0.0)
    assert logged["val/loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_validation_outside_training_logs_no_loss():
    module = small_module(val_caption_to_image=torch.arange(4))
    logged = attach(module, fn="validate")
    validate(module, pairs())
    assert "val/rsum" in logged
    assert "val/loss" not in logged


def test_checkpoint_holds_metadata_and_state_of_hooks():
    checkpoint, metadata, hooks = {}, {"format": 1, "name": "targeted"}, [Plus(3.0), LossHook()]
    small_module(metadata=metadata, hooks=hooks).on_save_checkpoint(checkpoint)
    assert checkpoint == {METADATA_KEY: metadata, "plus": {"value": 3.0}}
    other = Plus(0.0)
    small_module(hooks=[other]).on_load_checkpoint(checkpoint)
    assert other.value == 3.0


def test_momentum_encoder_is_saved_with_the_weights():
    names = small_module(loss=MomentumQueueLoss(embed_dim=4)).state_dict()
    assert {"momentum.started", "momentum.matcher.project"} < set(names)
    assert "momentum.started" not in small_module().state_dict()


def test_object_that_is_not_a_matcher_is_refused():
    with pytest.raises(AssertionError, match="Linear lacks a method of the Matcher protocol"):
        small_module(torch.nn.Linear(2, 2))


class Precisions(PooledMatcher):
    """Records the dtype of its matrix products in training and in validation."""

    def __init__(self):
        super().__init__(8, 4, 60)
        self.seen = set()

    def encode_images(self, regions, region_mask):
        self.seen.add((self.training, (regions @ self.project).dtype))
        return super().encode_images(regions, region_mask)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)])
def test_validation_computes_in_float32(tmp_path, precision, dtype):
    matcher = Precisions()
    trainer = quiet_trainer(precision=precision, max_epochs=1)
    trainer.fit(small_module(matcher), datamodule=small_data(tmp_path))
    assert matcher.seen == {(True, dtype), (False, torch.float32)}
    assert trainer.callback_metrics["val/rsum"] > 0


def test_training_lowers_the_loss(tmp_path):
    trainer = quiet_trainer(max_epochs=15)
    matcher = PooledMatcher(8, 4, 60)
    matcher.dropout = torch.nn.Identity()
    module, data = small_module(matcher), small_data(tmp_path)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    positives = positive_mask(batch.image_index, batch.text_group)
    before = module.loss(LossInputs(scores(module, batch), positives)).total.item()
    trainer.fit(module, datamodule=data)
    after = module.loss(LossInputs(scores(module, batch), positives)).total.item()
    assert after < 0.5 * before


@pytest.mark.parametrize("loss", [CurriculumLoss(triplet_weight=0.0), InfoNCELoss()], ids=["one in use", "one"])
def test_loss_of_one_part_logs_no_gradient_shares(loss):
    logged = attach(module := small_module(loss=loss))
    module.training_step(pairs(), 0)
    assert not [name for name in logged if "grad_share" in name]


def trained(root):
    """Train six logged steps with dropout and a learnt temperature; returns weights and last metrics."""
    torch.manual_seed(0)
    module = small_module(loss=CurriculumLoss(learn_temperature=True))
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, datamodule=small_data(root))
    return {name: value.clone() for name, value in module.state_dict().items()}, trainer.callback_metrics


def test_gradient_shares_do_not_change_the_run(tmp_path, monkeypatch):
    with_shares, logged = trained(tmp_path)
    monkeypatch.setattr(LossTerms, "gradient_shares", lambda terms, sources: {})
    without, without_metrics = trained(tmp_path)
    assert sum(float(logged[f"train/grad_share_{name}"]) for name in ("triplet", "info_nce")) == pytest.approx(100.0)
    assert not [name for name in without_metrics if "grad_share" in name]
    assert all(torch.equal(value, without[name]) for name, value in with_shares.items())
