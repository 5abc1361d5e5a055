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


main = command("train", train, config_name="config")

if __name__ == "__main__":
    main()
