"""Write the demo set: ``python -m tangka_match.demo_data [data=demo_small] [data.writer.noise=1.5] [data.root=D]``."""

from pathlib import Path

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, write the set, and print what is in it."""
    run_cli(_write, config_name="demo_data")


def _write(config: DictConfig) -> None:
    from tangka_match.config.build import build_writer

    build_writer(config).ensure(Path(config.data.root))
    print(f"{config.data.root} holds the demo set; README.json in it says what its oracle reaches")


if __name__ == "__main__":
    main()
