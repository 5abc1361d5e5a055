"""Training: `runner.train`, LightningModule, callbacks, optimizers and schedules, augmentation, and the recorder."""
