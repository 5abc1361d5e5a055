"""Losses on a mini-batch of image–caption pairs: a pure function and a thin module each, under one contract."""

from tangka_match.losses.alignment_uniformity import AlignmentUniformityLoss, alignment_loss, uniformity_loss
from tangka_match.losses.base import (
    ContextualLoss,
    LossContext,
    LossInputs,
    LossTerms,
    MatchingLoss,
    MomentumKeys,
    collapse_value,
    needs_context,
    positive_mask,
)
from tangka_match.losses.blend import BlendLoss
from tangka_match.losses.components import LogitScale, check_pooled
from tangka_match.losses.curriculum import CurriculumLoss
from tangka_match.losses.distillation import DistillationLoss, RankDistillationLoss, ScoreDistillationLoss
from tangka_match.losses.hal import HALLoss, hal_loss
from tangka_match.losses.info_nce import InfoNCELoss, info_nce_loss
from tangka_match.losses.momentum_queue import MomentumQueueLoss, momentum_queue_loss
from tangka_match.losses.multi_positive_info_nce import MultiPositiveInfoNCELoss, multi_positive_info_nce_loss
from tangka_match.losses.schedules import Schedule, apply_schedules
from tangka_match.losses.sigmoid import SigmoidLoss, sigmoid_loss
from tangka_match.losses.soft_label import SoftLabelLoss, soft_label_loss
from tangka_match.losses.triplet_margin import TripletMarginLoss, triplet_margin_loss
from tangka_match.losses.word_prediction import WordPredictionLoss, word_prediction_loss

__all__ = [
    "AlignmentUniformityLoss",
    "BlendLoss",
    "ContextualLoss",
    "CurriculumLoss",
    "DistillationLoss",
    "HALLoss",
    "InfoNCELoss",
    "LogitScale",
    "LossContext",
    "LossInputs",
    "LossTerms",
    "MatchingLoss",
    "MomentumKeys",
    "MomentumQueueLoss",
    "MultiPositiveInfoNCELoss",
    "RankDistillationLoss",
    "Schedule",
    "ScoreDistillationLoss",
    "SigmoidLoss",
    "SoftLabelLoss",
    "TripletMarginLoss",
    "WordPredictionLoss",
    "alignment_loss",
    "apply_schedules",
    "check_pooled",
    "collapse_value",
    "hal_loss",
    "info_nce_loss",
    "momentum_queue_loss",
    "multi_positive_info_nce_loss",
    "needs_context",
    "positive_mask",
    "sigmoid_loss",
    "soft_label_loss",
    "triplet_margin_loss",
    "uniformity_loss",
    "word_prediction_loss",
]
