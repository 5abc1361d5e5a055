import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.pair_contexts import at_progress, random_context
from tangka_match.losses import (
    AlignmentUniformityLoss,
    BlendLoss,
    CurriculumLoss,
    HALLoss,
    LossContext,
    LossInputs,
    MultiPositiveInfoNCELoss,
    SigmoidLoss,
    SoftLabelLoss,
    info_nce_loss,
    positive_mask,
    triplet_margin_loss,
)

CHECKS = settings(deadline=None, max_examples=40)


@st.composite
def batches(draw):
    """Draw scores and positives of a batch in which some pairs share an image or a text."""
    size = draw(st.integers(1, 8))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    image_index = torch.randint(0, 10, (size,), generator=generator)
    text_group = torch.randint(0, 10, (size,), generator=generator)
    scores = torch.randn(size, size, dtype=torch.float64, generator=generator)
    return scores, positive_mask(image_index, text_group), generator


@CHECKS
@given(batches(), st.floats(0, 1))
def test_order_of_the_pairs_changes_nothing(batch, progress):
    scores, positives, generator = batch
    order = torch.randperm(len(scores), generator=generator)
    loss = at_progress(CurriculumLoss(label_smoothing=0.1), progress)
    before = loss(LossInputs(scores, positives)).total
    after = loss(LossInputs(scores[order][:, order], positives[order][:, order])).total
    torch.testing.assert_close(after, before)


@CHECKS
@given(batches(), st.floats(0, 1))
def test_loss_is_symmetric_in_images_and_captions(batch, progress):
    scores, positives, _ = batch
    loss = at_progress(CurriculumLoss(label_smoothing=0.1), progress)
    transposed = loss(LossInputs(scores.T, positives.T)).total
    torch.testing.assert_close(transposed, loss(LossInputs(scores, positives)).total)


@CHECKS
@given(batches(), st.floats(-5, 5))
def test_adding_a_constant_to_all_scores_changes_nothing(batch, shift):
    scores, positives, _ = batch
    loss = at_progress(CurriculumLoss(label_smoothing=0.1), 1.0)
    shifted = loss(LossInputs(scores + shift, positives)).total
    torch.testing.assert_close(shifted, loss(LossInputs(scores, positives)).total)


@CHECKS
@given(batches())
def test_another_positive_never_raises_the_hardest_hinge_or_info_nce(batch):
    """The mean over all negatives can rise, when an easy negative is masked out."""
    scores, positives, generator = batch
    more = positives | (torch.rand(scores.shape, generator=generator) < 0.3)
    assert triplet_margin_loss(scores, more, 0.2, 1.0) <= triplet_margin_loss(scores, positives, 0.2, 1.0)
    assert info_nce_loss(scores, more, 5.0) <= info_nce_loss(scores, positives, 5.0) + 1e-12


@CHECKS
@given(batches(), st.floats(0, 1), st.floats(0, 1))
def test_harder_negatives_never_lower_the_hinge(batch, first, second):
    scores, positives, _ = batch
    easy, hard = sorted((first, second))
    assert (
        triplet_margin_loss(scores, positives, 0.2, easy) <= triplet_margin_loss(scores, positives, 0.2, hard) + 1e-12
    )


@CHECKS
@given(batches(), st.floats(0, 1))
def test_loss_falls_with_pair_scores_and_ignores_other_positives(batch, progress):
    scores, positives, _ = batch
    others = positives & ~torch.eye(len(scores), dtype=torch.bool)
    loss = at_progress(CurriculumLoss(), progress)
    before = loss(LossInputs(scores, positives)).total
    torch.testing.assert_close(loss(LossInputs(scores.masked_fill(others, 99.0), positives)).total, before)
    assert loss(LossInputs(scores + torch.eye(len(scores)), positives)).total <= before + 1e-12


def blend_of_all():
    parts = {
        "curriculum": CurriculumLoss(),
        "multi_positive": MultiPositiveInfoNCELoss(),
        "soft_label": SoftLabelLoss(),
        "sigmoid": SigmoidLoss(),
        "hal": HALLoss(),
        "uniform": AlignmentUniformityLoss(),
    }
    return BlendLoss(parts, dict.fromkeys(parts, 1.0))


@CHECKS
@given(batches(), st.floats(0, 1))
def test_order_of_the_pairs_does_not_change_any_loss(batch, progress):
    scores, positives, generator = batch
    order, context = torch.randperm(len(scores), generator=generator), random_context(len(scores), dtype=scores.dtype)
    shuffled = LossContext(
        context.images[order], context.texts[order], context.token_ids[order], context.token_mask[order]
    )
    before = at_progress(blend_of_all(), progress)(LossInputs(scores, positives, context)).terms
    inputs = LossInputs(scores[order][:, order], positives[order][:, order], shuffled)
    after = at_progress(blend_of_all(), progress)(inputs).terms
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)


@CHECKS
@given(batches(), st.floats(0, 1))
def test_every_loss_is_symmetric_in_images_and_captions(batch, progress):
    scores, positives, _ = batch
    context = random_context(len(scores), dtype=scores.dtype)
    turned = context._replace(images=context.texts, texts=context.images)
    before = at_progress(blend_of_all(), progress)(LossInputs(scores, positives, context)).terms
    after = at_progress(blend_of_all(), progress)(LossInputs(scores.T, positives.T, turned)).terms
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)
