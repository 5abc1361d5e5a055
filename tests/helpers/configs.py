"""Composes configs from ``conf/`` as a command does."""

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from tangka_match.config.location import conf_dir


def compose_config(*overrides: str, config_name: str = "config") -> DictConfig:
    """Compose the config of a command line with these overrides."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose(config_name, list(overrides))


def tiny_sizes(config: DictConfig) -> list[str]:
    """Return overrides that make the model small: every ``*_dim`` 8, two heads."""
    sizes = {key: 8 for key in config.model if key.endswith("_dim")}
    if "num_heads" in config.model:
        sizes["num_heads"] = 2
    return [f"model.{key}={size}" for key, size in sizes.items()]
