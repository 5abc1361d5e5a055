import math

import pytest
import torch

from helpers.pair_contexts import at_progress, random_context
from tangka_match.errors import ConfigError
from tangka_match.losses import (
    AlignmentUniformityLoss,
    BlendLoss,
    CurriculumLoss,
    HALLoss,
    InfoNCELoss,
    LossInputs,
    MomentumQueueLoss,
    SoftLabelLoss,
    TripletMarginLoss,
    collapse_value,
    needs_context,
)

PAIRS = torch.eye(5, dtype=torch.bool)
SCORES = torch.rand(5, 5, generator=torch.Generator().manual_seed(3))
INPUTS = LossInputs(SCORES, PAIRS)


def test_total_is_the_weighted_sum_with_scheduled_weights():
    info_nce, triplet = InfoNCELoss(temperature=0.2), TripletMarginLoss(0.2, 0.5)
    blend = BlendLoss({"a": info_nce, "b": triplet}, {"a": [1.0, 0.0], "b": 2.0}, begin=0.0, until=0.8)
    result = at_progress(blend, 0.4)(INPUTS)
    torch.testing.assert_close(result.total, 0.5 * info_nce(INPUTS).total + 2 * triplet(INPUTS).total)
    torch.testing.assert_close(result.terms, {"a": info_nce(INPUTS).total, "b": triplet(INPUTS).total})
    assert result.values == pytest.approx({"a_weight": 0.5, "b_weight": 2.0, "a_temperature": 0.2})
    torch.testing.assert_close(sum(result.weighted.values()), result.total)
    assert collapse_value(blend, INPUTS) == pytest.approx(0.5 * math.log(5) + 2 * 0.2)


def test_blend_of_triplet_and_info_nce_equals_the_curriculum():
    settings = {"begin": 0.1, "until": 0.7, "shape": "cosine"}
    parts = {"info_nce": InfoNCELoss(temperature=0.2), "triplet": TripletMarginLoss(0.2, 1.0)}
    blend = BlendLoss(parts, {"info_nce": [1.0, 0.5], "triplet": [0.0, 2.0]}, **settings)
    curriculum = CurriculumLoss(
        info_nce_weight=[1.0, 0.5],
        triplet_weight=[0.0, 2.0],
        hard_negatives=1.0,
        margin=0.2,
        temperature=0.2,
        **settings,
    )
    for progress in (0.0, 0.4, 1.0):
        expected = at_progress(curriculum, progress)(INPUTS).total
        torch.testing.assert_close(at_progress(blend, progress)(INPUTS).total, expected)


def test_curriculum_as_a_part_follows_its_schedules():
    curriculum = CurriculumLoss()
    result = at_progress(BlendLoss({"easy": curriculum, "hal": HALLoss()}, {"easy": 2.0, "hal": 1.0}), 0.25)(INPUTS)
    own = at_progress(curriculum, 0.25)(INPUTS)
    assert list(result.weighted) == ["easy_triplet", "easy_info_nce", "hal"]
    assert set(result.terms) == set(result.weighted)
    assert result.values["easy_margin"] == own.values["margin"]
    torch.testing.assert_close(result.weighted["easy_triplet"], 2 * own.weighted["triplet"])


def test_parts_get_the_context():
    parts = {"soft": SoftLabelLoss(), "uniform": AlignmentUniformityLoss(alignment_weight=0.0)}
    blend, context = BlendLoss(parts, {"soft": 1.0, "uniform": 0.1}), random_context(5)
    expected = parts["soft"](LossInputs(SCORES, PAIRS, context)).total
    expected = expected + 0.1 * parts["uniform"](LossInputs(SCORES, PAIRS, context)).total
    result = blend(LossInputs(SCORES, PAIRS, context))
    torch.testing.assert_close(result.total, expected)
    assert list(result.weighted) == ["soft", "uniform"]
    assert needs_context(blend)


def test_part_without_weight_is_dropped():
    blend = BlendLoss({"nce": InfoNCELoss(), "uniform": AlignmentUniformityLoss()}, {"nce": 1.0, "uniform": 0})
    assert list(blend(INPUTS).terms) == ["nce"]
    assert not needs_context(blend)


def test_key_momentum_is_taken_from_the_part():
    queue = MomentumQueueLoss(embed_dim=4, key_momentum=0.9)
    assert BlendLoss({"nce": InfoNCELoss(), "queue": queue}, {"nce": 1, "queue": 1}).key_momentum == 0.9
    assert BlendLoss({"nce": InfoNCELoss()}, {"nce": 1}).key_momentum is None
    slower = MomentumQueueLoss(embed_dim=4, key_momentum=0.99)
    with pytest.raises(ConfigError, match=r"key_momentum=\[0\.9, 0\.99\]: there is one momentum encoder"):
        BlendLoss({"a": queue, "b": slower}, {"a": 1, "b": 1})


def test_state_holds_parameters_and_buffers_of_parts():
    blend = BlendLoss({"queue": MomentumQueueLoss(embed_dim=4)}, {"queue": 1})
    assert "parts.queue.image_queue" in blend.state_dict()
    assert [name for name, _ in blend.named_parameters()] == ["parts.queue.logit_scale.log_scale"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0}, r"parts=\['a', 'b'\] and weights=\['a'\]: give each part one weight"),
        ({"a": 1.0, "b": -1}, r"weights\.b=-1 is outside \[0, inf\]"),
        ({"a": [1, 0], "b": [1, 0]}, r"weights=\['a', 'b'\] are all 0 at the end of the run"),
        ({"a": [0, 1], "b": 0}, r"weights=\['a', 'b'\] are all 0 at the start of the run"),
        ({"a": [0, 1, 2], "b": 1}, r"weights\.a=\[0, 1, 2\] has 3 values"),
    ],
)
def test_invalid_weights_are_refused(weights, message):
    with pytest.raises(ConfigError, match=message):
        BlendLoss({"a": InfoNCELoss(), "b": HALLoss()}, weights)


def test_reads_scores_if_any_part_reads_scores():
    parts = {"uniform": AlignmentUniformityLoss(), "queue": MomentumQueueLoss(embed_dim=4), "info_nce": InfoNCELoss()}
    ones = dict.fromkeys(parts, 1.0)
    assert BlendLoss(parts, ones).reads_scores
    assert not BlendLoss(parts, ones | {"info_nce": 0.0}).reads_scores
    assert BlendLoss({"soft": SoftLabelLoss()}, {"soft": 1.0}).reads_scores
