"""Builds the plan of a run from a composed config."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from tangka_match.config.arguments import argument_faults
from tangka_match.config.check import BUILT_BY_TARGET, check_config, raise_faults
from tangka_match.data.datamodule import SetWriter
from tangka_match.errors import ConfigError, TangkaMatchError
from tangka_match.losses import check_pooled
from tangka_match.training.callbacks import check_neighbours
from tangka_match.training.distributed import processes_started
from tangka_match.training.noisy_pairs import check_weighable
from tangka_match.training.optimisation import check_prefixes
from tangka_match.training.plan import RunPlan
from tangka_match.training.settings import DistillationSettings, TrainerSettings

# Of the rehearsal, before the data say what they are; the four words are the special ones.
STAND_IN_SIZES = {"vocab_size": 4, "feature_dim": 1, "num_regions": 1}
STAND_IN_STEPS = 1_000_000_000


def build_plan(config: DictConfig, overrides: Sequence[str] = ()) -> RunPlan:
    """Check a config and build what the runner needs.

    Every part is built once on the way, so that a value that a class refuses is reported before data are read or a
    folder is made.

    Args:
        config: As Hydra composed it, or as a run folder's ``config.yaml`` holds it.
        overrides: Of the command line, for the records.

    Raises:
        ConfigError: If the config is faulty, or asks for a device that this machine does not have.
    """
    settings, plain = check_config(config)
    nodes = {name: OmegaConf.create(plain[name]) for name in BUILT_BY_TARGET}
    build: dict[str, Callable[..., Any]] = {name: partial(_build, node) for name, node in nodes.items()}
    build["data"] = partial(build["data"], seed=settings.seed)
    teaching = settings.distillation
    if teaching.loss is not None:
        build["distillation.loss"] = partial(_build, OmegaConf.create(teaching.loss))
    raise_faults(
        [
            *_device_faults(settings.trainer),
            *_teacher_faults(teaching),
            *_rehearse(build, plain),
        ]
    )
    return RunPlan(
        settings=settings,
        config=plain,
        config_yaml=OmegaConf.to_yaml(OmegaConf.create(plain)),
        data=build["data"](),
        model=plain["model"],
        build_model=build["model"],
        build_loss=build["loss"],
        optimizer=build["optimizer"](),
        scheduler=build["scheduler"](),
        distillation_loss=build["distillation.loss"]() if teaching.loss is not None else None,
        overrides=tuple(overrides),
    )


def build_writer(config: DictConfig) -> SetWriter:
    """Check the part of a config that writes a data set, and build it.

    Raises:
        ConfigError: If ``data.writer`` is faulty, or there is none.
    """
    node = config.data.get("writer")
    if node is None:
        raise ConfigError("data: nothing writes this set; use data=demo or data=demo_small")
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    raise_faults(argument_faults("data.writer", plain, set()))
    return _build(node)


def _build(node: DictConfig, **filled: Any) -> Any:
    """Instantiate by ``_target_``; lists and dicts arrive as plain Python, never as OmegaConf containers.

    What a class raises comes out as it is, not in Hydra's wrapping.
    """
    try:
        return instantiate(node, _convert_="all", **filled)
    except InstantiationException as error:
        raise error.__cause__ or error from None


def _rehearse(build: dict[str, Callable[..., Any]], plain: dict[str, Any]) -> list[str]:
    """Build each part as the runner will, the model without memory; returns what the classes refuse."""
    matchers: list[torch.nn.Module] = []

    def build_model() -> None:
        with torch.device("meta"):
            matchers.append(build["model"](**STAND_IN_SIZES))
        check_prefixes(matchers[0], plain["training"]["lr_multipliers"] or {})
        check_neighbours(plain["data"].get("hard_batches", 0.0), matchers[0])

    def build_loss() -> None:
        loss = build["loss"]()
        if matchers:
            check_pooled(loss, matchers[0])
        check_weighable(loss, plain["training"]["noisy_pairs_from"])

    def build_optimizer() -> torch.optim.Optimizer:
        return build["optimizer"]()([torch.nn.Parameter(torch.zeros(1, 1))])

    def build_scheduler() -> None:
        build["scheduler"]()(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), total_steps=STAND_IN_STEPS)

    parts = {
        "model": build_model,
        "data": build["data"],
        "loss": build_loss,
        "optimizer": build_optimizer,
        "scheduler": build_scheduler,
    }
    if "distillation.loss" in build:
        parts["distillation.loss"] = build["distillation.loss"]
    faults: list[str] = []
    for name, build_part in parts.items():
        try:
            build_part()
        except TangkaMatchError as error:
            if any(fault.endswith(str(error)) for fault in faults):
                continue  # the model and its tokenizer are read from the same folder
            named = str(error).startswith((f"{name}.", "training.", "data."))
            faults.append(str(error) if named else f"{name}: {error}")
        except (TypeError, ValueError) as error:  # of a class that is not ours
            group, _, part = name.partition(".")
            node = plain[group][part] if part else plain[group]
            target, given = node["_target_"], {k: v for k, v in node.items() if k[0] != "_"}
            faults.append(f"{name}: {target} refuses {given}: {error}")
    return faults


def _teacher_faults(teaching: DistillationSettings) -> list[str]:
    if teaching.loss is not None and not teaching.teachers:
        return [
            "distillation.teachers is empty: give the checkpoints that teach (distillation.teachers=[a.ckpt,b.ckpt]), "
            "or distillation=none"
        ]
    return [
        f"distillation.teachers: {path}: no such file; give the best.ckpt of a trained model"
        for path in teaching.teachers
        if not path.is_file()
    ]


def _device_faults(trainer: TrainerSettings) -> list[str]:
    there = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if trainer.accelerator == "gpu" and there == 0:
        return [
            f"trainer.accelerator={trainer.accelerator!r}: torch {torch.__version__} finds no GPU on this machine: "
            "use trainer=cpu, or install a driver and a torch that fit the GPU"
        ]
    on_cpu = trainer.accelerator == "cpu" or there == 0
    if on_cpu and trainer.devices == -1:
        return ["trainer.devices=-1 is every GPU: on a CPU say how many processes (trainer=ddp_cpu starts 2)"]
    if not on_cpu and trainer.devices > there:
        return [f"trainer.devices={trainer.devices}: this machine has {there} GPU(s); -1 takes them all"]
    return _process_faults(trainer, there if trainer.devices == -1 else trainer.devices)


def _process_faults(trainer: TrainerSettings, devices: int) -> list[str]:
    """Whether those who started the processes, and the settings, agree on their number."""
    wanted, together = devices * trainer.num_nodes, processes_started()
    if trainer.num_nodes > 1 and together == 1:
        return [
            f"trainer.num_nodes={trainer.num_nodes}: Lightning starts processes on one machine only: start them on "
            "each by torchrun or srun (README, Sweeps)"
        ]
    if together > 1 and together != wanted:
        return [
            f"trainer.devices={trainer.devices} and trainer.num_nodes={trainer.num_nodes}: {together} processes were "
            f"started together, and these settings want {wanted}"
        ]
    return []
