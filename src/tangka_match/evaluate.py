"""Evaluate a checkpoint: ``python -m tangka_match.evaluate checkpoint=PATH data=precomp data.root=DIR out=OUT``."""

from omegaconf import DictConfig

from tangka_match.cli import run_cli


def main() -> None:
    """Compose the config, evaluate, write the results and print the recalls."""
    run_cli(_evaluate, config_name="evaluate")


def _evaluate(config: DictConfig) -> float:
    # Imported here: torch takes seconds to import, and --help and --cfg job do without it.
    from tangka_match.config.evaluation import evaluate

    return evaluate(config).raw.metrics["mean_r1"]


if __name__ == "__main__":
    main()
