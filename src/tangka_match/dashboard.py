"""Build the W&B workspace that compares runs: ``python -m tangka_match.dashboard``; ``push=true`` sends it."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, build the workspace, and write or push it."""
    run_cli(_dashboard, config_name="dashboard")


def _dashboard(config: DictConfig) -> None:
    # Imported here: torch and W&B take seconds to import, and --help and --cfg job do without them.
    from tangka_match.config.dashboard import dashboard

    dashboard(config)


if __name__ == "__main__":
    main()
