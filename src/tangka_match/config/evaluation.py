"""From a composed config to a written evaluation."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import rich
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tangka_match import load
from tangka_match.config.check import describe_fault, raise_faults
from tangka_match.data.split import load_split
from tangka_match.retrieval.evaluation import Evaluation, evaluate_split
from tangka_match.retrieval.evaluation_folder import check_out, write_evaluation
from tangka_match.retrieval.protocols import Protocol
from tangka_match.retrieval.recall_table import recall_table


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _there(device: str) -> str:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{device!r} cannot be used here: give cpu, or cuda where there is a GPU") from error
    return device


class EvaluationSettings(BaseModel):
    """Settings of an evaluation; ``conf/evaluate.yaml`` says what each one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: Annotated[list[Path], BeforeValidator(_as_list), Field(min_length=1)]
    split: str
    out: Path
    device: Annotated[str, AfterValidator(_there)]
    protocol: Protocol


def evaluate(config: DictConfig) -> Evaluation:
    """Evaluate what ``config`` says, write the folder and print the table.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    try:
        settings = EvaluationSettings.model_validate({name: plain[name] for name in EvaluationSettings.model_fields})
    except ValidationError as error:
        raise_faults([describe_fault(item) for item in error.errors()])
        raise
    check_out(settings.out)
    if config.data.get("writer") is not None:
        instantiate(config.data.writer).ensure(Path(config.data.root))
    expected = (config.data.get("expected_counts") or {}).get(settings.split, (None, None))
    matchers = [
        load(path, device=settings.device, batch_size=config.data.eval_batch_size) for path in settings.checkpoint
    ]
    split = load_split(config.data.root, settings.split, *expected)
    evaluation = evaluate_split(matchers, split, settings.protocol)
    about = {
        "checkpoint": [str(path.absolute()) for path in settings.checkpoint],
        "run_id": [matcher.passport["run_id"] for matcher in matchers],
        "data": str(Path(config.data.root).absolute()),
        "split": settings.split,
        "data_fingerprint": split.fingerprint,
        "protocol": asdict(settings.protocol),
    }
    write_evaluation(settings.out, evaluation, split, about)
    _print(settings, evaluation)
    return evaluation


def _print(settings: EvaluationSettings, evaluation: Evaluation) -> None:
    images, captions = evaluation.similarity.shape
    names = ", ".join(f"{path.parent.name}/{path.name}" for path in settings.checkpoint)
    console = rich.get_console()
    console.print(
        recall_table(
            evaluation.metrics,
            evaluation.intervals,
            title=f"{names} on {settings.split}, {images:,} images, {captions:,} captions",
            caption=settings.protocol.describe(),
        )
    )
    console.print(f"written to   {settings.out}", highlight=False, soft_wrap=True)
