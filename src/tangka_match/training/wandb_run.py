"""A run on W&B: started under its own id, told what the best checkpoint is worth, and ended with its exit code."""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import wandb
from PIL import Image
from pytorch_lightning.loggers import WandbLogger

from tangka_match.data.layout import find_thumbnail
from tangka_match.data.split import Split
from tangka_match.errors import ConfigError
from tangka_match.metric_names import HIGHER_IS_BETTER, RANK_STATISTICS, VAL_PREFIX
from tangka_match.records.run_folder import RunFolder
from tangka_match.retrieval.answers import Example, Examples
from tangka_match.training.process import environment_variable
from tangka_match.training.settings import LoggerSettings

SAYS_NOTHING = ("paths", "logger", "data.root", "tags", "debug", "resume", "seeds", "ensemble", "sweep")
"""Settings, and all beneath them, that say where a run writes or who started it, and not what it does."""
LONGEST = 128  # that W&B shows


def short_name(overrides: Iterable[str], without: tuple[str, ...] = ()) -> str:
    """Name a run by its overrides; a setting goes by its last word where no other override has the same.

    Args:
        overrides: Of the command line, as Hydra takes them.
        without: Settings to leave out beside ``SAYS_NOTHING``: ``("seed",)`` names what several seeds repeat.

    Returns:
        At most 128 characters; empty where no override says anything.

    >>> command = ["+experiment=targeted", "optimizer.lr=1e-4", "seed=1", "paths.runs=/tmp/runs", "logger=csv"]
    >>> short_name(command), short_name(command, without=("seed",))
    ('targeted lr=1e-4 seed=1', 'targeted lr=1e-4')
    >>> short_name(["loss.curriculum.warmup_steps=10", "scheduler.warmup_steps=20", "~model.dropout"])
    'loss.curriculum.warmup_steps=10 scheduler.warmup_steps=20 ~dropout'
    """
    told: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if not _is_in(key, (*SAYS_NOTHING, *without)):
            told[key] = f"~{key}" if override.startswith("~") else value
    tails = [key.rpartition(".")[2] for key in told]
    words = []
    for (key, value), tail in zip(told.items(), tails, strict=True):
        shown = tail if tails.count(tail) == 1 else key
        if value == f"~{key}":
            words.append(f"~{shown}")
        else:
            words.append(value if key == "experiment" else f"{shown}={value}")
    name = " ".join(words)
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _is_in(key: str, settings: tuple[str, ...]) -> bool:
    return any(key == setting or key.startswith(f"{setting}.") for setting in settings)


MOST = (256, 256)
"""Width and height that a picture is brought down to, in pixels."""


def examples_tables(examples: Examples, split: Split) -> dict[str, wandb.Table]:
    """Make a table a direction; it has pictures where the set has thumbnails of any image in it.

    Args:
        examples: Queries and their answers.
        split: Where they come from.
    """
    asked = [[_picture(split, example.query)] for example in examples.i2t]
    answered = [[_picture(split, answer.item) for answer in example.answers] for example in examples.t2i]
    return {
        "examples/i2t": _table(examples.i2t, split.image_ids, split.captions, asked),
        "examples/t2i": _table(examples.t2i, split.captions, split.image_ids, answered),
    }


def _table(
    examples: Sequence[Example],
    queries: Sequence[str],
    items: Sequence[str],
    pictures: Sequence[Sequence[wandb.Image | None]],
) -> wandb.Table:
    """A row a query; a right answer is ticked."""
    numbers = range(1, len(examples[0].answers) + 1)
    columns: list[str | int] = ["query", "rank", *(f"answer {n}" for n in numbers)]
    rows = [
        [
            queries[example.query],
            example.rank,
            *(f"{'✓' if right else '✗'} {items[item]} ({score:.3f})" for item, score, right in example.answers),
        ]
        for example in examples
    ]
    if any(picture is not None for row in pictures for picture in row):
        columns += ["picture"] if len(pictures[0]) == 1 else [f"picture {n}" for n in numbers]
        rows = [[*row, *shown] for row, shown in zip(rows, pictures, strict=True)]
    return wandb.Table(columns=columns, data=rows)


def _picture(split: Split, image: int) -> wandb.Image | None:
    """The thumbnail of an image, ``None`` where there is none, or none that can be read."""
    path = find_thumbnail(split.captions_path.parent, split.image_ids[image])
    if path is None:
        return None
    try:
        with Image.open(path) as opened:
            small = opened.convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return None
    small.thumbnail(MOST)
    return wandb.Image(small, caption=split.image_ids[image])


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
            service.experiment.define_metric(f"{VAL_PREFIX}{metric}", step_metric=STEP, summary=best)
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
