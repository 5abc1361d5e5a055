"""Losses on a mini-batch of pairs: one a file, a pure function and a thin module; schedules; combination."""

from tangka_match.losses.alignment_uniformity import AlignmentUniformityLoss, alignment_loss, uniformity_loss
from tangka_match.losses.base import LogitScale, LossTerms, MatchingLoss, positive_mask
from tangka_match.losses.blend import BlendLoss
from tangka_match.losses.context import (
    ContextualLoss,
    MomentumKeys,
    PairContext,
    check_pooled,
    measure,
    needs_context,
)
from tangka_match.losses.curriculum import CurriculumLoss
from tangka_match.losses.distillation import DistillationLoss, RankDistillationLoss, ScoreDistillationLoss
from tangka_match.losses.hal import HALLoss, hal_collapse_value, hal_loss
from tangka_match.losses.info_nce import InfoNCELoss, info_nce_collapse_value, info_nce_loss
from tangka_match.losses.momentum_queue import MomentumQueueLoss, momentum_queue_loss
from tangka_match.losses.multi_positive_info_nce import MultiPositiveInfoNCELoss, multi_positive_info_nce_loss
from tangka_match.losses.schedules import Schedule
from tangka_match.losses.sigmoid import SigmoidLoss, sigmoid_collapse_value, sigmoid_loss
from tangka_match.losses.soft_label import SoftLabelLoss, soft_label_loss
from tangka_match.losses.triplet_margin import TripletMarginLoss, triplet_collapse_value, triplet_margin_loss

__all__ = [
    "AlignmentUniformityLoss",
    "BlendLoss",
    "ContextualLoss",
    "CurriculumLoss",
    "DistillationLoss",
    "HALLoss",
    "InfoNCELoss",
    "LogitScale",
    "LossTerms",
    "MatchingLoss",
    "MomentumKeys",
    "MomentumQueueLoss",
    "MultiPositiveInfoNCELoss",
    "PairContext",
    "RankDistillationLoss",
    "Schedule",
    "ScoreDistillationLoss",
    "SigmoidLoss",
    "SoftLabelLoss",
    "TripletMarginLoss",
    "alignment_loss",
    "check_pooled",
    "hal_collapse_value",
    "hal_loss",
    "info_nce_collapse_value",
    "info_nce_loss",
    "measure",
    "momentum_queue_loss",
    "multi_positive_info_nce_loss",
    "needs_context",
    "positive_mask",
    "sigmoid_collapse_value",
    "sigmoid_loss",
    "soft_label_loss",
    "triplet_collapse_value",
    "triplet_margin_loss",
    "uniformity_loss",
]
