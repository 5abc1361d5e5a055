"""Lightning callbacks; ``conf/callbacks`` holds those that a user chooses."""

from tangka_match.training.callbacks.averaging import MovingAveraging, TailAveraging
from tangka_match.training.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from tangka_match.training.callbacks.guard import TrainingGuard
from tangka_match.training.callbacks.hard_batches import HardBatches, check_neighbours
from tangka_match.training.callbacks.phases import PhaseTimer
from tangka_match.training.callbacks.resume import ExactResume
from tangka_match.training.callbacks.starts import ClosedFormStart, WordStart
from tangka_match.training.callbacks.stop import AgreedStop
from tangka_match.training.callbacks.validation import EarlyStopping, LastValidation, Pruning, ValidationLines

__all__ = [
    "AgreedStop",
    "BestCheckpoint",
    "ClosedFormStart",
    "EarlyStopping",
    "ExactResume",
    "HardBatches",
    "LastCheckpoint",
    "LastValidation",
    "MovingAveraging",
    "PhaseTimer",
    "Pruning",
    "TailAveraging",
    "TrainingGuard",
    "ValidationLines",
    "WordStart",
    "check_neighbours",
]
