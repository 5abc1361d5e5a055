"""A run on W&B: started under its own id, told what the best checkpoint is worth, and ended with its exit code."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb
from pytorch_lightning.loggers import WandbLogger

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.metrics.summary import HIGHER_IS_BETTER, RANK_STATISTICS
from tangka_match.retrieval.examples import Examples
from tangka_match.training.environment_variable import environment_variable
from tangka_match.training.records.run_folder import RunFolder
from tangka_match.training.records.run_name import short_name
from tangka_match.training.records.wandb_tables import examples_tables
from tangka_match.training.settings import LoggerSettings

logger = logging.getLogger(__name__)
DATA_VARIABLE = "WANDB_DATA_DIR"
STEP = "trainer/global_step"


def start_wandb(
    settings: LoggerSettings,
    folder: RunFolder,
    *,
    name: str,
    group: str,
    tags: Sequence[str],
    overrides: Sequence[str],
    config: dict[str, Any],
) -> WandbLogger:
    """Start a run under the id that the run folder has.

    The W&B config is the composed one, with the command line's overrides as ``overrides``, and as ``recipe`` what
    several seeds of it have in common, to group runs by.

    Args:
        settings: Of the logger.
        folder: Of the run; everything that W&B writes goes there.
        name: Of the experiment.
        group: The sweep, or the experiment.
        tags: For filtering.
        overrides: Of the command line.
        config: The composed config, plain.

    Raises:
        ConfigError: If W&B cannot log in or reach its server.
    """
    logging.getLogger("wandb").setLevel(logging.WARNING)
    recipe = short_name(overrides, without=("seed",)) or name
    try:
        run = wandb.init(
            project=settings.project,
            entity=settings.entity,
            mode="offline" if settings.offline else "online",
            dir=folder.path,
            id=folder.run_id,
            resume="allow",
            name=short_name(overrides) or folder.run_id,
            group=group,
            job_type="train",
            tags=list(tags),
            config={**config, "overrides": list(overrides), "recipe": recipe},
            # A kill loses what is not flushed, and the default interval is 15 seconds.
            settings=wandb.Settings(
                x_transaction_log_flush_interval=1.0, silent=True, console="off", init_timeout=30.0
            ),
        )
    except wandb.Error as error:  # no login, or no network
        raise ConfigError(
            f"logger.offline={settings.offline}: W&B did not start ({str(error).splitlines()[0]}): run `wandb login` "
            "and see to the network, or use logger=wandb, which writes what `wandb sync` uploads later"
        ) from error
    service = WandbLogger(experiment=run)
    for names, best in ((HIGHER_IS_BETTER, "max"), (("loss", *RANK_STATISTICS), "min")):
        for metric in names:  # each by name: for `val/*` W&B keeps the last value
            service.experiment.define_metric(f"val/{metric}", step_metric=STEP, summary=best)
    return service


def keep_best(service: WandbLogger, folder: RunFolder, examples: Examples, val: Split) -> None:
    """Give the run its best checkpoint as an artifact, and tables of validation queries with their answers.

    What goes wrong here, such as a full disk, is logged and costs the run nothing else.

    Args:
        service: Started by ``start_wandb``.
        folder: Of the run; its ``result.json`` becomes the artifact's metadata.
        examples: To show.
        val: Where they come from.
    """
    run = service.experiment
    try:
        # Artifacts wait for their upload in the run folder; W&B's own choice is a folder of the user's home. A copied
        # run folder then takes along what its ``wandb sync`` needs.
        with environment_variable(DATA_VARIABLE, str((folder.path / "wandb").absolute())):
            run.log(examples_tables(examples, val))
            metadata = json.loads((folder.path / "result.json").read_text("utf-8"))
            artifact = wandb.Artifact(f"model-{folder.run_id}", "model", metadata=metadata)
            # `immutable` and `skip_cache`: W&B would copy the weights twice, and they are never written again.
            file = _link(folder) if run.offline else folder.best
            artifact.add_file(str(file), name="best.ckpt", policy="immutable", skip_cache=True)
            run.log_artifact(artifact, aliases=["best"])
    except (OSError, ValueError, wandb.Error) as error:
        logger.warning("W&B did not take the best checkpoint and the examples: %s: %s", type(error).__name__, error)


def finish_wandb(service: WandbLogger, *, exit_code: int, summary: dict[str, float]) -> None:
    """Close the run with its best metrics and the right exit code, also after a crash.

    Lightning leaves a crashed run open, which then shows as finished, and the next run of the process would write
    into it.
    """
    service.experiment.summary.update(summary)
    service.experiment.finish(exit_code=exit_code)


def _link(folder: RunFolder) -> Path:
    """A second name for ``best.ckpt`` in the run folder, which costs no space; the file itself on another disk."""
    link = folder.path / "wandb" / "artifacts" / "best.ckpt"
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.hardlink_to(folder.best)
    except OSError:
        return folder.best.absolute()
    return link.absolute()
