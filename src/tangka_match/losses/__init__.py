"""Losses on a similarity matrix: one a file, a pure function and a thin module; curriculum schedules; combination."""

from tangka_match.losses.base import LossTerms, MatchingLoss
from tangka_match.losses.curriculum import CurriculumLoss
from tangka_match.losses.distillation import DistillationLoss, RankDistillationLoss, ScoreDistillationLoss
from tangka_match.losses.info_nce import InfoNCELoss, info_nce_collapse_value, info_nce_loss
from tangka_match.losses.logit_scale import LogitScale
from tangka_match.losses.positives import positive_mask
from tangka_match.losses.schedules import Schedule
from tangka_match.losses.triplet_margin import TripletMarginLoss, triplet_collapse_value, triplet_margin_loss

__all__ = [
    "CurriculumLoss",
    "DistillationLoss",
    "InfoNCELoss",
    "LogitScale",
    "LossTerms",
    "MatchingLoss",
    "RankDistillationLoss",
    "Schedule",
    "ScoreDistillationLoss",
    "TripletMarginLoss",
    "info_nce_collapse_value",
    "info_nce_loss",
    "positive_mask",
    "triplet_collapse_value",
    "triplet_margin_loss",
]
