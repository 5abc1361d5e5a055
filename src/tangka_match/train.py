"""Train a matcher, or a sweep of them.

    python -m tangka_match.train +experiment=targeted

``--help`` lists the config groups and settings.
"""

from omegaconf import DictConfig

from tangka_match.cli import command


def train(config: DictConfig) -> float | None:
    """Run the training or sweep job of ``config``; return the main metric, or ``None`` if a sweep job failed."""
    from tangka_match.sweeps.dispatch import run

    return run(config)


DISK_ADVICE = (
    "free space there, or move the folder to another disk and set paths.runs and paths.checkpoints; then continue with "
    "resume=<run id>"
)
main = command("train", train, config_name="config", disk_advice=DISK_ADVICE)

if __name__ == "__main__":
    main()
