"""Train a matcher: ``python -m tangka_match.train +experiment=targeted``; ``--help`` lists the groups and settings."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, train, and print the recalls."""
    run_cli(_train, config_name="config")


def _train(config: DictConfig) -> float | None:
    # Imported here: torch takes seconds to import, and --help and --cfg job do without it.
    from tangka_match.sweeps.dispatch import run

    return run(config)


if __name__ == "__main__":
    main()
