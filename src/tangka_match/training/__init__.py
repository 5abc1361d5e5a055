"""LightningModule, optimisers and schedules, callbacks, records, runner."""
