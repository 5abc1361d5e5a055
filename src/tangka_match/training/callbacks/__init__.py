"""Lightning callbacks: resume, hard batches, checkpoints, validation, guard, pruning, terminal lines."""

from tangka_match.training.callbacks.best_checkpoint import MONITORED, BestCheckpoint
from tangka_match.training.callbacks.closed_form import ClosedFormStart
from tangka_match.training.callbacks.early_stopping import EarlyStopping
from tangka_match.training.callbacks.guard import TrainingGuard
from tangka_match.training.callbacks.hard_batches import HardBatches, check_neighbours
from tangka_match.training.callbacks.last_checkpoint import LastCheckpoint
from tangka_match.training.callbacks.last_validation import LastValidation
from tangka_match.training.callbacks.moving_averaging import MovingAveraging
from tangka_match.training.callbacks.pruning import Pruning
from tangka_match.training.callbacks.resume import ExactResume
from tangka_match.training.callbacks.tail_averaging import TailAveraging
from tangka_match.training.callbacks.validation_lines import ValidationLines
from tangka_match.training.callbacks.word_start import WordStart

__all__ = [
    "MONITORED",
    "BestCheckpoint",
    "ClosedFormStart",
    "EarlyStopping",
    "ExactResume",
    "HardBatches",
    "LastCheckpoint",
    "LastValidation",
    "MovingAveraging",
    "Pruning",
    "TailAveraging",
    "TrainingGuard",
    "ValidationLines",
    "WordStart",
    "check_neighbours",
]
