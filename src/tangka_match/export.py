"""Write the two encoders of a trained model as ONNX graphs, for use without this package.

python -m tangka_match.export checkpoint=CHECKPOINT out=FOLDER [data.root=FOLDER]
"""

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from tangka_match.cli import (
    allow_no_data,
    check_is_new,
    command,
    open_split,
    read_settings,
    say,
    write_missing_data,
)
from tangka_match.files import folder_written_completely
from tangka_match.settings import Settings

if TYPE_CHECKING:
    from tangka_match.retrieval.export_folder import VectorCost
    from tangka_match.retrieval.trained_matcher import TrainedMatcher


class ExportSettings(Settings):
    """Settings of an export; see ``conf/export.yaml``."""

    checkpoint: Path
    out: Path
    split: str


def export(config: DictConfig) -> None:
    """Write a folder with both encoders, tokenizer, vocabulary and a README.

    Raises:
        TangkaMatchError: On invalid settings, data or checkpoints, or a model without one vector per image and caption.
    """
    from rich.progress import Progress

    from tangka_match import load
    from tangka_match.retrieval.export_folder import check_tokenizer, write_folder
    from tangka_match.retrieval.onnx_graphs import has_whole_score

    allow_no_data(config.data)
    settings = read_settings(config, ExportSettings)
    check_is_new(settings.out)
    matcher = load(settings.checkpoint, batch_size=config.data.eval_batch_size)
    is_whole = has_whole_score(matcher)
    check_tokenizer(matcher)
    cost = None if is_whole else _measure_cost(matcher, config.data, settings.split)
    with folder_written_completely(settings.out) as partial, Progress(transient=True) as bar:
        task = bar.add_task("writing the encoders", total=2)
        write_folder(matcher, partial, has_whole_score=is_whole, cost=cost, advance=lambda: bar.advance(task))
    say(f"written to   {settings.out}; its README.md says how to use it without this package")


def _measure_cost(matcher: "TrainedMatcher", data: DictConfig, split: str) -> "VectorCost | None":
    """Say that the vectors are a part of the score, and what that costs on a split."""
    from tangka_match.retrieval.export_folder import VectorCost

    left_out = f"{type(matcher.matcher).__name__} also compares words with regions, which the encoders leave out"
    if data.root is None:
        say(f"{left_out}; data.root=<folder> measures the cost")
        return None
    write_missing_data(data)
    cost = VectorCost.measure(matcher, open_split(data, split))
    say(f"{left_out}; {cost.describe()}")
    return cost


main = command("export", export)

if __name__ == "__main__":
    main()
