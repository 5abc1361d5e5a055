"""Float16 training (``trainer.precision=16-mixed``): steps that loss scaling skips are not counted as steps."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins import MixedPrecision

from tangka_match.errors import TrainingError


class LossScaling(MixedPrecision):
    """Lightning's float16 precision, which also counts the optimizer steps that were skipped.

    The loss is multiplied by a scale, so that small gradients do not become 0 in float16. Where a gradient overflows,
    the optimizer's step is skipped and the scale halved.

    Args:
        device: Type of the device.
        scaler: Scaler of the loss; torch's own if not given.

    Attributes:
        skipped: Steps skipped since the start of the run, of a resumed run too.
        has_skipped: Whether the last step was skipped.
    """

    def __init__(self, device: str = "cuda", scaler: torch.amp.GradScaler | None = None) -> None:
        super().__init__("16-mixed", device, scaler)
        self.skipped = 0
        self.has_skipped = False

    def optimizer_step(  # type: ignore[override]
        self, optimizer: Any, model: pl.LightningModule, closure: Callable[[], Any], **kwargs: Any
    ) -> Any:
        """Step, and notice whether the scaler skipped it; the scaler waits for the GPU in any case."""
        assert self.scaler is not None
        scale = self.scaler.get_scale()
        result = super().optimizer_step(optimizer, model, closure, **kwargs)
        self.has_skipped = self.scaler.get_scale() < scale
        self.skipped += self.has_skipped
        return result

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the scaler, and the number of skipped steps."""
        return {**super().state_dict(), "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the scaler and the number of skipped steps."""
        self.skipped = int(state_dict.get("skipped", 0))
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "skipped"})


def scales_loss(trainer: pl.Trainer) -> bool:
    """Return whether a run scales its loss."""
    return isinstance(trainer.precision_plugin, LossScaling)


def skipped_steps(trainer: pl.Trainer) -> int:
    """Return how many optimizer steps of a run were skipped; 0 without loss scaling."""
    plugin = trainer.precision_plugin
    return plugin.skipped if isinstance(plugin, LossScaling) else 0


def has_skipped(trainer: pl.Trainer) -> bool:
    """Return whether the last optimizer step was skipped."""
    plugin = trainer.precision_plugin
    return isinstance(plugin, LossScaling) and plugin.has_skipped


def check_steps_taken(trainer: pl.Trainer) -> None:
    """Check that a run has changed its weights.

    Raises:
        TrainingError: If every step was skipped.
    """
    if 0 < trainer.global_step <= skipped_steps(trainer):
        raise TrainingError(
            f"trainer.precision=16-mixed: all {trainer.global_step:,} optimizer steps were skipped, because gradients "
            "overflowed in float16, and the weights are those of the start. Use trainer.precision=bf16-mixed, or "
            "32-true"
        )
