"""Evaluate one checkpoint, an ensemble of several, or a score matrix of another program.

    python -m tangka_match.evaluate checkpoint=CHECKPOINT data=precomp data.root=FOLDER out=FOLDER
    python -m tangka_match.evaluate similarity=SCORES.npy captions_per_image=5 out=FOLDER

Writes ``metrics.json``, ``similarity.npy`` and ``ranks.csv`` to ``out`` and prints the recalls.
"""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from omegaconf import DictConfig
from pydantic import AfterValidator, BeforeValidator, Field

from tangka_match.cli import (
    allow_no_data,
    command,
    open_split,
    read_settings,
    say,
    usable_device,
    write_missing_data,
)
from tangka_match.errors import ConfigError
from tangka_match.settings import OneOrMore, Settings

if TYPE_CHECKING:
    from tangka_match.data.split import Split
    from tangka_match.retrieval.corrections import Bank, CorrectionSettings
    from tangka_match.retrieval.evaluation import Evaluation
    from tangka_match.retrieval.protocols import EvaluationProtocol


def _known_corrections(names: list[str]) -> list[str]:
    from tangka_match.retrieval.corrections import check_corrections

    check_corrections(names)
    return names


def _known_weights(value: Any) -> Any:
    is_list = isinstance(value, list) and all(isinstance(w, int | float) and 0 <= w < math.inf for w in value)
    if (is_list and sum(value) > 0) or value in (None, "val"):
        return value
    raise ValueError(
        f"found {value}; give a list of numbers >= 0, not all of them 0, such as weights=[0.7,0.3], or val to choose "
        "them on the validation split"
    )


class BankSettings(Settings):
    """Query bank of ``qb_norm`` and ``nnn``."""

    split: str
    size: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]


class NearDuplicateSettings(Settings):
    """Distance up to which two images count as the same picture."""

    threshold: Annotated[float, Field(ge=0, le=2)] | None


class EvaluationSettings(Settings):
    """Settings of an evaluation; see ``conf/evaluate.yaml``."""

    checkpoint: Annotated[list[Path], OneOrMore, Field(min_length=1)] | None
    similarity: Path | None
    captions_per_image: Annotated[int, Field(ge=1)] | None
    ids: Path | None
    split: str
    out: Path
    device: Annotated[str, AfterValidator(usable_device)]
    precision: Annotated[Literal["32", "bf16"], BeforeValidator(str)]
    fusion: Literal["mean", "standardised", "rank"]
    weights: Annotated[list[float] | Literal["val"] | None, BeforeValidator(_known_weights)]
    protocol: "EvaluationProtocol"
    hubness: Annotated[list[str], OneOrMore, AfterValidator(_known_corrections)]
    bank: BankSettings
    correction: "CorrectionSettings"
    near_duplicates: NearDuplicateSettings


def evaluate(config: DictConfig) -> float:
    """Evaluate checkpoints or given scores, write the results, print the tables, and return the mean R@1.

    Raises:
        TangkaMatchError: On invalid settings, data, checkpoints or scores.
    """
    from tangka_match.retrieval.corrections import CorrectionSettings
    from tangka_match.retrieval.evaluation_files import check_out
    from tangka_match.retrieval.protocols import EvaluationProtocol

    # Pydantic completes the class here: the modules of the two nested types import torch.
    EvaluationSettings.model_rebuild(
        _types_namespace={"EvaluationProtocol": EvaluationProtocol, "CorrectionSettings": CorrectionSettings}
    )
    if config.get("similarity") is not None:
        allow_no_data(config.data)
    settings = read_settings(config, EvaluationSettings)
    _check_what_is_evaluated(settings)
    is_replaced = check_out(settings.out)
    if settings.checkpoint is None:
        evaluation = _evaluate_scores(config.data, settings)
    else:
        evaluation = _evaluate_checkpoints(config.data, settings, settings.checkpoint)
    _print(settings, evaluation)
    say(f"written to   {settings.out}{' (the earlier evaluation there is replaced)' if is_replaced else ''}")
    return evaluation.raw.metrics["mean_r1"]


def _check_what_is_evaluated(settings: EvaluationSettings) -> None:
    from tangka_match.retrieval.corrections import TRANSDUCTIVE, WITH_BANK

    if (settings.checkpoint is None) == (settings.similarity is None):
        raise ConfigError(
            "give checkpoint=<best.ckpt>, or similarity=<scores.npy> of another program; "
            f"found {'neither' if settings.checkpoint is None else 'both'}"
        )
    needs_bank = [name for name in settings.hubness if name in WITH_BANK]
    if settings.similarity is not None and needs_bank:
        raise ConfigError(
            f"hubness={needs_bank}: needs the scores of other queries, which similarity={settings.similarity} does not "
            f"hold; allowed: {', '.join(TRANSDUCTIVE)}"
        )
    _check_weights(settings)


def _check_weights(settings: EvaluationSettings) -> None:
    weights, models = settings.weights, len(settings.checkpoint or [])
    if weights is None:
        return
    if models < 2:
        raise ConfigError(f"weights={weights}: only an ensemble has weights; give checkpoint=[a.ckpt,b.ckpt] with them")
    if isinstance(weights, list) and len(weights) != models:
        raise ConfigError(f"weights={weights}: {len(weights)} weights of {models} checkpoints; give one for each")


def _evaluate_checkpoints(data: DictConfig, settings: EvaluationSettings, paths: list[Path]) -> "Evaluation":
    import torch

    from tangka_match import load
    from tangka_match.ops import computes_bfloat16
    from tangka_match.retrieval.encode import corrects_scores
    from tangka_match.retrieval.evaluation import Extras, choose_weights, evaluate_split
    from tangka_match.retrieval.evaluation_files import write_evaluation

    write_missing_data(data)
    dtype = {"32": torch.float32, "bf16": torch.bfloat16}[settings.precision]
    if settings.precision == "bf16" and not computes_bfloat16(torch.device(settings.device)):
        say(f"precision=bf16 is slower than precision=32 here: {settings.device} has no bfloat16 instructions")
    matchers = [load(path, device=settings.device, batch_size=data.eval_batch_size, dtype=dtype) for path in paths]
    if settings.hubness and any(corrects_scores(matcher.matcher) for matcher in matchers):
        say(f"hubness={settings.hubness} is applied on top of the correction inside of the model (model.hub_weight)")
    split = open_split(data, settings.split)
    weights = settings.weights
    if isinstance(weights, str):
        weights = choose_weights([[matcher] for matcher in matchers], open_split(data, "val"), fusion=settings.fusion)
        same = ", which are the queries evaluated here: evaluate another split as well" * (settings.split == "val")
        say(f"weights      {weights}, chosen by rsum on the validation split{same}")
    extras = Extras(
        corrections=settings.hubness,
        settings=settings.correction,
        bank=_draw_bank(data, settings, split),
        near_duplicates=settings.near_duplicates.threshold,
    )
    evaluation = evaluate_split(
        matchers, split, settings.protocol, fusion=settings.fusion, weights=weights, extras=extras
    )
    about = {
        "checkpoint": [str(path.absolute()) for path in paths],
        "run_id": [matcher.metadata["run_id"] for matcher in matchers],
        "data": str(Path(data.root).absolute()),
        "data_fingerprint": split.fingerprint,
        **_about(settings, exclude={"similarity", "captions_per_image", "ids"}),
        "weights": weights,
        "weights_chosen_on": settings.weights if isinstance(settings.weights, str) else None,
    }
    write_evaluation(settings.out, evaluation, split, about)
    return evaluation


def _evaluate_scores(data: DictConfig, settings: EvaluationSettings) -> "Evaluation":
    """Evaluate a matrix; the data set, if it is given, says the pairs and finds near-duplicates."""
    from tangka_match.retrieval.evaluation import Extras, evaluate_scores
    from tangka_match.retrieval.evaluation_files import write_evaluation
    from tangka_match.retrieval.given_scores import Pairing, read_scores

    assert settings.similarity is not None
    split = None if data.root is None else open_split(data, settings.split)
    own = settings.captions_per_image is None and settings.ids is None
    pairing = Pairing(settings.captions_per_image, settings.ids)
    scores = read_scores(settings.similarity, split if own and split is not None else pairing)
    extras = Extras(
        corrections=settings.hubness,
        settings=settings.correction,
        near_duplicates=settings.near_duplicates.threshold,
    )
    evaluation = evaluate_scores(scores, settings.protocol, extras, split)
    about = {
        "similarity": str(settings.similarity.absolute()),
        "data": None if data.root is None else str(Path(data.root).absolute()),
        **_about(settings, exclude={"similarity", "device", "precision", "fusion", "weights", "bank"}),
    }
    write_evaluation(settings.out, evaluation, scores, about)
    return evaluation


def _about(settings: EvaluationSettings, exclude: set[str]) -> dict[str, object]:
    return {
        **settings.model_dump(mode="json", exclude={"checkpoint", "out", "near_duplicates", *exclude}),
        "protocol": asdict(settings.protocol),
        "correction": asdict(settings.correction),
    }


def _draw_bank(data: DictConfig, settings: EvaluationSettings, evaluated: "Split") -> "Bank | None":
    """Draw the query bank if a correction needs one; its split is not opened otherwise."""
    from tangka_match.retrieval.corrections import WITH_BANK, Bank

    if not any(name in WITH_BANK for name in settings.hubness):
        return None
    bank = settings.bank
    return Bank.draw(open_split(data, bank.split), bank.size, bank.seed, evaluated)


def _print(settings: EvaluationSettings, evaluation: "Evaluation") -> None:
    import rich

    from tangka_match.retrieval.tables import recall_table, variants_table

    images, captions = evaluation.similarity.shape
    if settings.checkpoint is None:
        names = f"{settings.similarity} (rows images, columns captions)"
    else:
        names = f"{', '.join(f'{path.parent.name}/{path.name}' for path in settings.checkpoint)} on {settings.split}"
    console = rich.get_console()
    console.print(
        recall_table(
            evaluation.raw.metrics,
            evaluation.raw.intervals,
            title=f"{names}, {images:,} images, {captions:,} captions",
            caption=settings.protocol.describe(),
        )
    )
    if evaluation.corrected or evaluation.near_duplicates is not None:
        console.print(variants_table(evaluation))
    if (costs := evaluation.describe_costs()) is not None:
        say(f"scoring      {costs}")
    for warning in evaluation.warnings:
        console.print(f"[bold red]warning[/bold red]      {warning}", highlight=False, soft_wrap=True)


main = command("evaluate", evaluate)

if __name__ == "__main__":
    main()
