"""Compare runs on one page: ``python -m tangka_match.report runs=DIR out=report.html``."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, read the runs, and write the page."""
    run_cli(_report, config_name="report")


def _report(config: DictConfig) -> None:
    # Imported here: torch takes seconds to import, and --help and --cfg job do without it.
    from tangka_match.config.report import report

    report(config)


if __name__ == "__main__":
    main()
