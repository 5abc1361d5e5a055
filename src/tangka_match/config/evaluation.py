"""From a composed config to a written evaluation."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import rich
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from tangka_match import load
from tangka_match.config.command_settings import check_settings
from tangka_match.data.split import Split, load_split
from tangka_match.retrieval.corrections import WITH_BANK, Bank, CorrectionSettings, check_corrections
from tangka_match.retrieval.evaluation import Evaluation, Extras, evaluate_split
from tangka_match.retrieval.evaluation_files import check_out, write_evaluation
from tangka_match.retrieval.protocols import EvaluationProtocol
from tangka_match.retrieval.tables import recall_table, variants_table

PRECISIONS = {"32": torch.float32, "bf16": torch.bfloat16}


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def usable_device(device: str) -> str:
    """The same name, if there is such a device here; for pydantic."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"{device!r} cannot be used here: give cpu, or cuda where there is a GPU") from error
    return device


def _known(names: list[str]) -> list[str]:
    check_corrections(names)
    return names


class BankSettings(BaseModel):
    """The query bank of ``qb_norm`` and ``nnn``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str
    size: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]


class NearDuplicateSettings(BaseModel):
    """When two images count as the same picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: Annotated[float, Field(ge=0, le=2)] | None


class EvaluationSettings(BaseModel):
    """Settings of an evaluation; ``conf/evaluate.yaml`` says what each one means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: Annotated[list[Path], BeforeValidator(_as_list), Field(min_length=1)]
    split: str
    out: Path
    device: Annotated[str, AfterValidator(usable_device)]
    precision: Annotated[Literal["32", "bf16"], BeforeValidator(str)]
    fusion: Literal["mean", "rank"]
    protocol: EvaluationProtocol
    hubness: Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_known)]
    bank: BankSettings
    correction: CorrectionSettings
    near_duplicates: NearDuplicateSettings


def evaluate(config: DictConfig) -> Evaluation:
    """Evaluate what ``config`` says, write the folder and print the tables.

    Raises:
        TangkaMatchError: For whatever a user can mend.
    """
    settings = check_settings(config, EvaluationSettings)
    replaces = check_out(settings.out)
    data = config.data
    if data.get("writer") is not None:
        instantiate(data.writer).ensure(Path(data.root))
    dtype = PRECISIONS[settings.precision]
    matchers = [
        load(path, device=settings.device, batch_size=data.eval_batch_size, dtype=dtype) for path in settings.checkpoint
    ]
    split = _open(data, settings.split)
    extras = Extras(
        corrections=settings.hubness,
        settings=settings.correction,
        bank=_bank(data, settings, split),
        near_duplicates=settings.near_duplicates.threshold,
    )
    evaluation = evaluate_split(matchers, split, settings.protocol, fusion=settings.fusion, extras=extras)
    about = {
        "checkpoint": [str(path.absolute()) for path in settings.checkpoint],
        "run_id": [matcher.metadata["run_id"] for matcher in matchers],
        "data": str(Path(data.root).absolute()),
        "data_fingerprint": split.fingerprint,
        **settings.model_dump(mode="json", exclude={"checkpoint", "out", "near_duplicates"}),
        "protocol": asdict(settings.protocol),
        "correction": asdict(settings.correction),
    }
    write_evaluation(settings.out, evaluation, split, about)
    _print(settings, evaluation, replaces)
    return evaluation


def _open(data: DictConfig, name: str) -> Split:
    expected = (data.get("expected_counts") or {}).get(name, (None, None))
    return load_split(data.root, name, *expected)


def _bank(data: DictConfig, settings: EvaluationSettings, evaluated: Split) -> Bank | None:
    """Queries for the corrections that need some; their files are opened for these alone."""
    if not any(name in WITH_BANK for name in settings.hubness):
        return None
    bank = settings.bank
    return Bank.draw(_open(data, bank.split), bank.size, bank.seed, evaluated)


def _print(settings: EvaluationSettings, evaluation: Evaluation, replaces: bool) -> None:
    images, captions = evaluation.similarity.shape
    names = ", ".join(f"{path.parent.name}/{path.name}" for path in settings.checkpoint)
    console = rich.get_console()
    console.print(
        recall_table(
            evaluation.raw.metrics,
            evaluation.raw.intervals,
            title=f"{names} on {settings.split}, {images:,} images, {captions:,} captions",
            caption=settings.protocol.describe(),
        )
    )
    if evaluation.corrected or evaluation.near_duplicates is not None:
        console.print(variants_table(evaluation))
    for warning in evaluation.warnings:
        console.print(f"[bold red]warning[/bold red]      {warning}", highlight=False, soft_wrap=True)
    earlier = " (the earlier evaluation there is replaced)" if replaces else ""
    console.print(f"written to   {settings.out}{earlier}", highlight=False, soft_wrap=True)
