"""Training: `runner.train`, the LightningModule, callbacks, optimizers and schedules, augmentation, the recorder."""
