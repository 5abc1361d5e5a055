"""List runs: ``python -m tangka_match.runs [name=…] [tag=…] [status=…] [sort=…]``; one in full: ``show=RUN_ID``."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, read the runs, and print them."""
    run_cli(_runs, config_name="runs")


def _runs(config: DictConfig) -> None:
    # Imported here, as in the other entry points: --help does without it.
    from tangka_match.config.run_list import list_runs

    list_runs(config)


if __name__ == "__main__":
    main()
