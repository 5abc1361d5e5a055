"""Diagnose data and a run: ``python -m tangka_match.diagnose data=precomp data.root=DIR [run=RUN_ID] out=OUT``."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, diagnose, write the page and print the findings."""
    run_cli(_diagnose, config_name="diagnose")


def _diagnose(config: DictConfig) -> None:
    # Imported here: torch takes seconds to import, and --help and --cfg job do without it.
    from tangka_match.config.diagnosis import diagnose

    diagnose(config)


if __name__ == "__main__":
    main()
