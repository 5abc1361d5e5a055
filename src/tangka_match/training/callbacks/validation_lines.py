"""A line a validation in the run's log, where a progress bar leaves no trace."""

import logging

import pytorch_lightning as pl

logger = logging.getLogger(__name__)


class ValidationLines(pl.Callback):
    """Logs epoch, step, losses and recalls after each validation."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line."""
        if trainer.state.fn != "fit":
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logger.info(
            "epoch %2d  step %5d  loss %s  val %.3f  i2t %.2f/%.2f/%.2f  t2i %.2f/%.2f/%.2f  mean R@1 %.2f  rsum %.1f",
            trainer.current_epoch,
            trainer.global_step,
            f"{metrics['train/loss']:.3f}" if "train/loss" in metrics else "–",  # an epoch may end before the first
            *(metrics[f"val/{key}"] for key in ("loss", "i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")),
            metrics["val/mean_r1"],
            metrics["val/rsum"],
        )
