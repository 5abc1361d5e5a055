"""Builds the plan of a run from a composed config."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from tangka_match.analysis.curves import draw_curves
from tangka_match.config.arguments import argument_faults, with_import_paths
from tangka_match.config.check import BUILT_BY_TARGET, active_callbacks, check_config
from tangka_match.config.explain import raise_faults
from tangka_match.data.datamodule import SetWriter
from tangka_match.data.tokenizer import check_restorable
from tangka_match.errors import ConfigError, TangkaMatchError
from tangka_match.hub import read_config
from tangka_match.losses import check_pooled
from tangka_match.models.registry import check_loadable
from tangka_match.training.build import check_compiler
from tangka_match.training.callbacks import check_neighbours
from tangka_match.training.distillation import check_same_above
from tangka_match.training.distributed import launcher, processes_started
from tangka_match.training.noisy_pairs import check_weighable
from tangka_match.training.optimisation import check_prefixes
from tangka_match.training.plan import RunPlan
from tangka_match.training.settings import DistillationSettings, RunSettings, TrainerSettings
from tangka_match.training.wandb_environment import wandb_faults

TRIAL_SIZES = {"vocab_size": 4, "feature_dim": 1, "num_regions": 1}
"""Sizes that a model is built with before the data are read; the four words are the special tokens."""
TRIAL_STEPS = 1_000_000_000
"""Length of the run that a schedule is built for before the data are read."""


def build_plan(config: DictConfig, overrides: Sequence[str] = (), *, on_this_machine: bool = True) -> RunPlan:
    """Check a config and build the plan of a run.

    Every part is built once as a trial, so that values refused by a class are reported before data are read or a folder
    is made.

    Args:
        config: Config as composed by Hydra, or as saved in a run folder.
        overrides: Overrides of the command line, for the records.
        on_this_machine: Whether the run is to run here; otherwise devices and compiler are not checked.

    Raises:
        ConfigError: If the config has faults, or requests a device that this machine does not have.
    """
    settings, plain = check_config(config)
    nodes = {name: OmegaConf.create(plain[name]) for name in BUILT_BY_TARGET}
    build: dict[str, Callable[..., Any]] = {name: partial(_build, node) for name, node in nodes.items()}
    build["data"] = partial(build["data"], seed=settings.seed)
    distillation = settings.distillation
    if distillation.loss is not None:
        build["distillation.loss"] = partial(_build, OmegaConf.create(distillation.loss))
    callbacks: dict[str, Any] = OmegaConf.to_container(OmegaConf.create(plain), resolve=True)["callbacks"]  # type: ignore[assignment,call-overload,index]
    for name, node in active_callbacks(callbacks).items():
        build[f"callbacks.{name}"] = partial(_build, OmegaConf.create(node))
    raise_faults(
        [
            *(_machine_faults(settings) if on_this_machine else []),
            *_teacher_faults(distillation),
            *wandb_faults(settings.logger, (settings.name, *settings.tags)),
            *_build_once(build, plain),
        ]
    )
    return RunPlan(
        settings=settings,
        config=plain,
        config_yaml=OmegaConf.to_yaml(OmegaConf.create(plain)),  # keeps interpolations
        data=build["data"](),
        model=plain["model"],
        build_model=build["model"],
        build_loss=build["loss"],
        optimizer=build["optimizer"](),
        scheduler=build["scheduler"](),
        build_callbacks=lambda: [build_part() for name, build_part in build.items() if name.startswith("callbacks.")],
        distillation_loss=build["distillation.loss"]() if distillation.loss is not None else None,
        overrides=tuple(overrides),
        draw_curves=draw_curves,
    )


def build_writer(data: DictConfig) -> SetWriter:
    """Build the writer of a data set from ``data.writer``.

    Args:
        data: Group ``data`` of a config as composed by Hydra.

    Raises:
        ConfigError: If ``data.writer`` is missing or has faults.
    """
    node = data.get("writer")
    if node is None:
        raise ConfigError("data.writer is not set: this data set cannot be written; use data=demo or data=demo_small")
    if not OmegaConf.is_dict(node):
        raise ConfigError(f"data.writer={node!r} must hold the settings of a writer; use data=demo or data=demo_small")
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    raise_faults(argument_faults("data.writer", plain, set()))
    return _build(node)


def _build(node: DictConfig, **filled: Any) -> Any:
    """Instantiate a node by its ``_target_``, with plain lists and dicts, and raise errors without Hydra's wrapping."""
    try:
        plain = with_import_paths(OmegaConf.to_container(node, resolve=True))
        return instantiate(plain, _convert_="all", **filled)
    except InstantiationException as error:
        raise error.__cause__ or error from None


def _build_once(build: dict[str, Callable[..., Any]], plain: dict[str, Any]) -> list[str]:
    """Build each part as the runner does, the model without memory, and return what the classes refuse."""
    matchers: list[torch.nn.Module] = []

    def build_model() -> None:
        check_loadable(plain["model"]["_target_"])
        with torch.device("meta"):
            matchers.append(build["model"](**TRIAL_SIZES))
        check_prefixes(matchers[0], plain["training"]["lr_multipliers"] or {})
        check_neighbours(plain["data"].get("hard_batches", 0.0), matchers[0])

    def build_loss() -> None:
        loss = build["loss"]()
        if matchers:
            check_pooled(loss, matchers[0])
        check_weighable(loss, plain["training"]["noisy_pairs_from"])
        check_same_above(loss, plain["distillation"]["same_above"])

    def build_optimizer() -> torch.optim.Optimizer:
        return build["optimizer"]()([torch.nn.Parameter(torch.zeros(1, 1))])

    def build_scheduler() -> None:
        build["scheduler"]()(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), total_steps=TRIAL_STEPS)

    averages: list[str] = []

    def build_callback(name: str) -> None:
        _check_callback(name, build[name](), averages)

    parts: dict[str, Callable[[], Any]] = {
        "model": build_model,
        "data": lambda: check_restorable(build["data"]().tokenizer),
        "loss": build_loss,
        "optimizer": build_optimizer,
        "scheduler": build_scheduler,
    }
    if "distillation.loss" in build:
        parts["distillation.loss"] = build["distillation.loss"]
    parts |= {name: partial(build_callback, name) for name in build if name.startswith("callbacks.")}
    faults: list[str] = []
    for name, build_part in parts.items():
        try:
            build_part()
        except TangkaMatchError as error:
            if any(fault.endswith(str(error)) for fault in faults):
                continue  # the model and its tokenizer read the same folder
            named = str(error).startswith((f"{name}.", f"{name}:", "training.", "data."))
            faults.append(str(error) if named else f"{name}: {error}")
        except (TypeError, ValueError, MisconfigurationException) as error:  # raised by a class of another package
            group, _, part = name.partition(".")
            node = plain[group][part] if part else plain[group]
            target, given = node["_target_"], {k: v for k, v in node.items() if k[0] != "_"}
            faults.append(f"{name}: {target} refuses {given}: {error}")
    if len(averages) > 1:
        faults.append(f"{' and '.join(averages)}: only one average of the weights can be kept; set the others to null")
    return faults


def _machine_faults(settings: RunSettings) -> list[str]:
    """Return what this machine lacks for a run: devices, and a compiler if the run needs it."""
    faults = _device_faults(settings.trainer)
    try:
        if settings.training.compile:
            check_compiler()
    except ConfigError as error:
        faults.append(str(error))
    return faults


def _check_callback(name: str, callback: object, averages: list[str]) -> None:
    """Refuse what is not a callback; ``averages`` collects the names of those that average the weights."""
    if not isinstance(callback, pl.Callback):
        raise ConfigError(
            f"{name}: {type(callback).__name__} is not a Lightning callback; derive it from pytorch_lightning.Callback"
        )
    if isinstance(callback, pl.callbacks.WeightAveraging):
        averages.append(name)


def _teacher_faults(distillation: DistillationSettings) -> list[str]:
    if distillation.loss is not None and not distillation.teachers and distillation.text_model is None:
        return [
            "distillation.teachers is empty, and distillation.text_model is not set: give the checkpoints of the "
            "teachers (distillation.teachers=[a.ckpt,b.ckpt]), a pretrained text encoder (distillation=sentences "
            "distillation.text_model=<folder>), or set distillation=none"
        ]
    faults = [
        f"distillation.teachers: {path}: no such file; give the best.ckpt of a trained model"
        for path in distillation.teachers
        if not path.is_file()
    ]
    if distillation.text_model is not None:
        try:
            read_config(distillation.text_model)
        except ConfigError as error:
            faults.append(f"distillation.text_model: {error}")
    return faults


def _device_faults(trainer: TrainerSettings) -> list[str]:
    found = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if trainer.accelerator == "gpu" and found == 0:
        return [
            f"trainer.accelerator={trainer.accelerator!r}: torch {torch.__version__} finds no GPU on this machine: "
            "use trainer=cpu, or install a driver and a torch build for the GPU"
        ]
    on_cpu = trainer.accelerator == "cpu" or found == 0
    if on_cpu and trainer.devices == -1:
        return ["trainer.devices=-1 means all GPUs: on a CPU set the number of processes (trainer=ddp_cpu starts 2)"]
    if not on_cpu and trainer.devices > found:
        return [f"trainer.devices={trainer.devices}: this machine has {found} GPU(s); -1 uses all of them"]
    return _process_faults(trainer, found if trainer.devices == -1 else trainer.devices)


def _process_faults(trainer: TrainerSettings, devices: int) -> list[str]:
    """Check that as many processes were started as the settings say."""
    wanted, together = devices * trainer.num_nodes, processes_started()
    if trainer.num_nodes > 1 and together == 1:
        return [
            f"trainer.num_nodes={trainer.num_nodes}: Lightning starts processes on one machine only: start them with "
            "torchrun or srun on each machine (README, Sweeps)"
        ]
    command = launcher()
    if command is not None and together != wanted:
        starts = {
            "srun": f"srun --nodes={trainer.num_nodes} --ntasks-per-node={devices} (and the same options for sbatch)",
            "torchrun": f"torchrun --nnodes={trainer.num_nodes} --nproc-per-node={devices} -m tangka_match.train",
        }
        return [
            f"trainer.devices={trainer.devices} and trainer.num_nodes={trainer.num_nodes} need {wanted} processes, but "
            f"{command} started {together}, and Lightning starts no more in its place: start them with "
            f"{starts[command]}, or set trainer.devices=1 and trainer.num_nodes=1"
        ]
    return []
