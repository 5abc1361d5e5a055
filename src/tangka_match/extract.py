"""Features of pictures by a Chinese-CLIP: ``python -m tangka_match.extract clip=M images=D captions=TSV out=ROOT``."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, encode the pictures, and print where the files are."""
    run_cli(_extract, config_name="extract")


def _extract(config: DictConfig) -> None:
    # Imported here: torch takes seconds to import, and --help and --cfg job do without it.
    from tangka_match.config.extraction import extract

    print(f"written to   {', '.join(map(str, extract(config)))}")


if __name__ == "__main__":
    main()
