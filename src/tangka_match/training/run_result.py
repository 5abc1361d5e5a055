"""What a finished run has to show."""

from dataclasses import dataclass

from tangka_match.training.callbacks.guard import Verdict
from tangka_match.training.records.run_folder import RunFolder


@dataclass(frozen=True)
class RunResult:
    """What a finished run has to show.

    Args:
        folder: Of the run.
        metrics: Of ``best.ckpt`` on the validation split, in float32: recalls in percent, ranks from 1.
        intervals: 95 % intervals of the same.
        num_images: Of the validation split.
        num_captions: Of the validation split.
        best_epoch: From 0.
        best_step: Optimizer steps.
        total_steps: Optimizer steps that the run took.
        verdicts: Of the guard.
        num_parameters: Learnt numbers of the model.
        pruned: Whether a study stopped the run because it lagged behind other trials.
    """

    folder: RunFolder
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    num_images: int
    num_captions: int
    best_epoch: int
    best_step: int
    total_steps: int
    verdicts: list[Verdict]
    num_parameters: int
    pruned: bool
