"""Compare two models: ``python -m tangka_match.compare a=OUT1 b=OUT2``; or recipes: ``'a=[S0,S1]' 'b=[T0,T1]'``."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, compare, and print the verdict."""
    run_cli(_compare, config_name="compare")


def _compare(config: DictConfig) -> None:
    # Imported here: torch takes seconds to import, and --help and --cfg job do without it.
    from tangka_match.config.comparison import compare

    compare(config)


if __name__ == "__main__":
    main()
