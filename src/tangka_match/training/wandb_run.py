"""A run on W&B: started with the id of the run, given its best checkpoint, and finished with its exit code."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import wandb
from PIL import Image
from pytorch_lightning.loggers import WandbLogger

from tangka_match.data.layout import find_thumbnail
from tangka_match.data.split import Split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.metric_names import HIGHER_IS_BETTER, RANK_STATISTICS, VAL_PREFIX
from tangka_match.records.run_folder import RunFolder
from tangka_match.records.saved_files import read_mapping
from tangka_match.records.setting_names import COMMAND_KEYS
from tangka_match.retrieval.answers import Example, Examples
from tangka_match.training.process_state import environment_variable
from tangka_match.training.settings import LoggerSettings
from tangka_match.training.wandb_environment import Mode, mode_of, name_or, project_of, tags_of

UNNAMED_SETTINGS = (*COMMAND_KEYS, "paths", "logger", "data.root", "tags", "debug")
"""Settings and groups that do not change the results of a run, and are omitted from its name."""
MAX_NAME_LENGTH = 128  # W&B shows no more


def short_name(overrides: Iterable[str], without: tuple[str, ...] = ()) -> str:
    """Name a run after its overrides; a setting is shown by the last part of its name if that is unambiguous.

    Args:
        overrides: Overrides of the command line.
        without: Settings to leave out besides ``UNNAMED_SETTINGS``; ``("seed",)`` gives all seeds the same name.

    Returns:
        Name of at most 128 characters; empty if no override is left.

    >>> command = ["+experiment=targeted", "optimizer.lr=1e-4", "seed=1", "paths.runs=/tmp/runs", "logger=csv"]
    >>> short_name(command), short_name(command, without=("seed",))
    ('targeted lr=1e-4 seed=1', 'targeted lr=1e-4')
    >>> short_name(["loss.curriculum.warmup_steps=10", "scheduler.warmup_steps=20", "~model.dropout"])
    'loss.curriculum.warmup_steps=10 scheduler.warmup_steps=20 ~dropout'
    """
    told: dict[str, str] = {}
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if not _is_in(key, (*UNNAMED_SETTINGS, *without)):
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
    return name if len(name) <= MAX_NAME_LENGTH else name[: MAX_NAME_LENGTH - 1] + "…"


def _is_in(key: str, settings: tuple[str, ...]) -> bool:
    return any(key == setting or key.startswith(f"{setting}.") for setting in settings)


THUMBNAIL_SIZE = (256, 256)
"""Largest width and height of a logged image, in pixels."""


def examples_tables(examples: Examples, split: Split) -> dict[str, wandb.Table]:
    """Make one table per direction; it shows images if the data set has thumbnails of any of them.

    Args:
        examples: Queries and their answers.
        split: Split of the queries and answers.
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
    """Make a table with one row per query, in which correct answers are ticked."""
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
    """Read the thumbnail of an image; ``None`` if it does not exist or cannot be read."""
    path = find_thumbnail(split.captions_path.parent, split.image_ids[image])
    if path is None:
        return None
    try:
        with Image.open(path) as opened:
            small = opened.convert("RGB")
    except (OSError, Image.DecompressionBombError):
        return None
    small.thumbnail(THUMBNAIL_SIZE)
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
    """Start a W&B run with the id of the run folder.

    W&B's environment variables replace what is not set: name, group, job type, project, mode; ``WANDB_TAGS`` adds tags.
    The W&B config is the composed config, plus ``overrides`` (those of the command line) and ``recipe`` (the name that
    all seeds share, to group runs by).

    Args:
        settings: Settings of the logger.
        folder: Run folder, which W&B writes to.
        name: Name of the experiment.
        group: Id of the sweep, or name of the experiment.
        tags: Tags of the run.
        overrides: Overrides of the command line.
        config: Composed config as plain values.

    Raises:
        ConfigError: If W&B cannot log in or reach its server.
    """
    logging.getLogger("wandb").setLevel(logging.WARNING)
    recipe = short_name(overrides, without=("seed",)) or name
    mode = mode_of(settings)
    try:
        run = wandb.init(
            project=project_of(settings.project),
            entity=settings.entity,  # None: WANDB_ENTITY
            mode=mode,
            dir=folder.path,
            id=folder.run_id,
            resume="allow",
            name=name_or("WANDB_NAME", short_name(overrides) or folder.run_id),
            group=name_or("WANDB_RUN_GROUP", group),
            job_type=name_or("WANDB_JOB_TYPE", "train"),
            tags=tags_of(tags),
            config={**config, "overrides": list(overrides), "recipe": recipe},
            # A killed run loses what is not flushed; the default interval is 15 seconds.
            settings=wandb.Settings(
                x_transaction_log_flush_interval=1.0, silent=True, console="off", init_timeout=30.0
            ),
        )
    except wandb.Error as error:  # no login, or no network
        raise ConfigError(f"W&B did not start ({mode}: {str(error).splitlines()[0]}): {_advice(mode)}") from error
    service = WandbLogger(experiment=run)
    for names, best in ((HIGHER_IS_BETTER, "max"), (("loss", *RANK_STATISTICS), "min")):
        for metric in names:  # one by one: with `val/*` W&B keeps the last value
            service.experiment.define_metric(f"{VAL_PREFIX}{metric}", step_metric=STEP, summary=best)
    return service


def _advice(mode: Mode) -> str:
    if mode == "offline":
        return "use logger=csv to train without W&B"
    return (
        "run `wandb login` and check the network, or set logger.offline=true, and upload the run later with "
        "`wandb sync`"
    )


def keep_best(service: WandbLogger, folder: RunFolder, examples: Examples, val: Split) -> None:
    """Log the best checkpoint as an artifact, and tables of validation queries with their answers.

    A failure, such as a full disk, is logged and does not end the run.

    Args:
        service: Logger from ``start_wandb``.
        folder: Run folder; its ``result.json`` becomes the metadata of the artifact.
        examples: Queries and their answers.
        val: Validation split.
    """
    run = service.experiment
    try:
        # Artifacts are staged in the run folder and not in the user's home, so that a copied run folder can be synced.
        with environment_variable(DATA_VARIABLE, str((folder.path / "wandb").absolute())):
            run.log(examples_tables(examples, val))
            metadata = read_mapping(folder.path / "result.json")
            artifact = wandb.Artifact(f"model-{folder.run_id}", "model", metadata=metadata)
            # Without `immutable` and `skip_cache` W&B copies the weights twice.
            file = _link(folder) if run.offline else folder.best
            artifact.add_file(str(file), name="best.ckpt", policy="immutable", skip_cache=True)
            run.log_artifact(artifact, aliases=["best"])
    except (OSError, ValueError, DataFormatError, wandb.Error) as error:
        logger.warning("cannot log the best checkpoint and the examples to W&B: %s: %s", type(error).__name__, error)


def finish_wandb(service: WandbLogger, *, exit_code: int, summary: dict[str, float]) -> None:
    """Finish the W&B run with its best metrics and exit code, also after a crash.

    Lightning leaves a crashed run open: it is shown as finished, and the next run of the process writes to it.

    Args:
        service: Logger from ``start_wandb``.
        exit_code: Exit code of the run.
        summary: Metrics of the best checkpoint.
    """
    service.experiment.summary.update(summary)
    service.experiment.finish(exit_code=exit_code)


def _link(folder: RunFolder) -> Path:
    """Hard-link ``best.ckpt`` into the run folder; return the file itself if it is on another disk."""
    link = folder.path / "wandb" / "artifacts" / "best.ckpt"
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.hardlink_to(folder.best)
    except OSError:
        return folder.best.absolute()
    return link.absolute()
