"""Builds the plan of a run from a composed config."""

from functools import partial
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from tangka_match.config.check import check_config
from tangka_match.training.plan import RunPlan


def build_plan(config: DictConfig) -> RunPlan:
    """Check a config and build what the runner needs.

    Args:
        config: As Hydra composed it, or as a run folder's ``config.yaml`` holds it.

    Raises:
        ConfigError: If the config is faulty.
    """
    settings, plain = check_config(config)
    groups = {name: OmegaConf.create(plain[name]) for name in ("data", "model", "loss", "optimizer", "scheduler")}
    return RunPlan(
        settings=settings,
        config=plain,
        config_yaml=OmegaConf.to_yaml(OmegaConf.create(plain)),
        data=_build(groups["data"], seed=settings.seed),
        model=plain["model"],
        build_model=partial(_build, groups["model"]),
        build_loss=partial(_build, groups["loss"]),
        optimizer=_build(groups["optimizer"]),
        scheduler=_build(groups["scheduler"]),
    )


def _build(node: DictConfig, **filled: Any) -> Any:
    """Instantiate by ``_target_``; lists and dicts arrive as plain Python, never as OmegaConf containers."""
    return instantiate(node, _convert_="all", **filled)
