"""Lightning callbacks: exact resume, checkpoints, validation, the guard, and a line a validation in the terminal."""

from tangka_match.training.callbacks.best_checkpoint import MONITORED, BestCheckpoint
from tangka_match.training.callbacks.closed_form import ClosedFormStart
from tangka_match.training.callbacks.guard import TrainingGuard
from tangka_match.training.callbacks.last_checkpoint import LastCheckpoint
from tangka_match.training.callbacks.last_validation import LastValidation
from tangka_match.training.callbacks.resume import ExactResume
from tangka_match.training.callbacks.validation_lines import ValidationLines

__all__ = [
    "MONITORED",
    "BestCheckpoint",
    "ClosedFormStart",
    "ExactResume",
    "LastCheckpoint",
    "LastValidation",
    "TrainingGuard",
    "ValidationLines",
]
