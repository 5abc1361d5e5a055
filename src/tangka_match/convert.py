"""Convert other programmes' checkpoints: ``python -m tangka_match.convert source=PATH vocab=VOCAB out=CKPT``."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, convert, and print where the file is."""
    run_cli(_convert, config_name="convert")


def _convert(config: DictConfig) -> None:
    # Imported here: torch takes seconds to import, and --help and --cfg job do without it.
    from tangka_match.config.conversion import convert

    print(f"written to   {', '.join(map(str, convert(config)))}")


if __name__ == "__main__":
    main()
