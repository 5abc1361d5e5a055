"""Evaluate a trained model, or an ensemble, on a split."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.data.split import Split
from tangka_match.errors import ConfigError, DataFormatError
from tangka_match.metrics import confidence_intervals
from tangka_match.retrieval.corrections import (
    TRANSDUCTIVE,
    WITH_BANK,
    Bank,
    BankScores,
    CorrectionSettings,
    check_corrections,
    clipped_settings,
    corrector,
)
from tangka_match.retrieval.costs import describe_costs, peak_memory_mib
from tangka_match.retrieval.fusion import on_common_scale, select_weights, weighted_mean
from tangka_match.retrieval.given_scores import GivenScores
from tangka_match.retrieval.protocols import EvaluationProtocol, PooledRanks, rank_galleries, relevant_pairs
from tangka_match.retrieval.trained_matcher import TrainedMatcher

MANY_UNKNOWN = 50
"""Share of unknown words from which an evaluation warns, in percent."""
MANY_NEAR = 5
"""Share of all pairs that near-duplicates make correct from which an evaluation warns, in percent."""


@dataclass(frozen=True)
class Measured:
    """Metrics and their intervals for one way of scoring and judging.

    Args:
        metrics: Metrics by the names of `metrics.summarise`, in percent or ranks, over all queries of all galleries.
        intervals: 95 % confidence intervals over images, by the same names.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, pooled: PooledRanks, protocol: EvaluationProtocol) -> "Measured":
        """Summarise ranks; intervals are those over all queries."""
        intervals = confidence_intervals(pooled.ranks, pooled.t2i_image, query_to_image=pooled.i2t_image)
        return cls(pooled.metrics(protocol), intervals)

    def report(self) -> dict[str, object]:
        """Return each metric under its name, and its interval under ``<name>_ci95``."""
        values: dict[str, object] = {}
        for name, value in self.metrics.items():
            values[name] = value
            values[f"{name}_ci95"] = list(self.intervals[name])
        return values


@dataclass(frozen=True)
class NearDuplicates:
    """Metrics with near-duplicates counted as correct.

    Args:
        threshold: Cosine distance up to which two images count as the same picture.
        extra_pairs: Number of pairs that count as correct beyond each caption's own image.
        measured: The metrics.
    """

    threshold: float
    extra_pairs: int
    measured: Measured

    def report(self) -> dict[str, object]:
        """Return plain values for ``metrics.json``."""
        return {"threshold": self.threshold, "extra_pairs": self.extra_pairs, **self.measured.report()}


@dataclass(frozen=True)
class Extras:
    """Optional evaluations in addition to the raw metrics; none by default.

    Args:
        corrections: Hubness corrections, out of ``corrections.CORRECTIONS``.
        settings: Hyper-parameters of the corrections.
        bank: Bank of other queries, for the corrections in ``corrections.WITH_BANK``.
        near_duplicates: Cosine distance up to which two images count as the same picture; not evaluated if ``None``.

    Raises:
        ConfigError: If a correction is unknown, or needs a bank and has none.
    """

    corrections: Sequence[str] = ()
    settings: CorrectionSettings = field(default_factory=CorrectionSettings)
    bank: Bank | None = None
    near_duplicates: float | None = None

    def __post_init__(self) -> None:
        check_corrections(list(self.corrections))
        if self.bank is None and any(name in WITH_BANK for name in self.corrections):
            raise ConfigError(f"hubness={list(self.corrections)}: {' and '.join(WITH_BANK)} need a bank of queries")


@dataclass(frozen=True)
class Evaluation:
    """Result of the evaluation of a split.

    Args:
        similarity: Scores of the whole split, (I, C) float32.
        raw: Metrics of these scores, the only ones that compare with published results.
        corrected: Metrics after each hubness correction, by its name.
        near_duplicates: Metrics with near-duplicates counted as correct, if asked for.
        seconds: Time to compute the similarity, without encoding; ``None`` if another program computed it.
        warnings: Reasons to doubt the metrics.
    """

    similarity: Float[Tensor, "I C"]
    raw: Measured
    corrected: Mapping[str, Measured]
    near_duplicates: NearDuplicates | None
    seconds: float | None
    warnings: Sequence[str]

    def report(self) -> dict[str, object]:
        """Return plain values for ``metrics.json``: raw metrics, sizes and costs, then one group per extra."""
        num_images, num_captions = self.similarity.shape
        values = self.raw.report() | {
            "num_images": num_images,
            "num_captions": num_captions,
            **({} if self.seconds is None else _costs(num_images * num_captions, self.seconds)),
            "warnings": list(self.warnings),
        }
        if self.corrected:
            values["corrected"] = {
                name: {"transductive": name in TRANSDUCTIVE, **measured.report()}
                for name, measured in self.corrected.items()
            }
        if self.near_duplicates is not None:
            values["near_duplicates"] = self.near_duplicates.report()
        return values

    def describe_costs(self) -> str | None:
        """Return time and memory of the scores for the terminal, captions as queries; ``None`` if they were given."""
        images, captions = self.similarity.shape
        return None if self.seconds is None else describe_costs(captions, images, self.seconds)


def evaluate_split(
    matchers: Sequence[TrainedMatcher],
    split: Split,
    protocol: EvaluationProtocol,
    *,
    fusion: str = "mean",
    weights: Sequence[float] | None = None,
    extras: Extras | None = None,
) -> Evaluation:
    """Score every image of a split against every caption, and rank the galleries of a protocol.

    Args:
        matchers: One model, or several as an ensemble.
        split: Opened split.
        protocol: Galleries to rank.
        fusion: Fusion of an ensemble's scores: ``"mean"``, as SGRAF reports (Diao et al. 2021, arXiv 2101.01368,
            section 4.2); for models of different kinds, whose scores have different scales, ``"standardised"``, the
            mean after division by the standard deviation of each model's scores (one number per model, over all pairs
            of the split), or ``"rank"``, the rank product.
        weights: Weight of each model in the mean; they need not sum to 1. ``None`` weights all equally.
        extras: Evaluations in addition to the raw metrics.

    Raises:
        ConfigError: If ``fusion`` is unknown, the weights do not fit the models, or the split is smaller than the
            protocol's galleries.
        CheckpointError: If a model does not fit the split.
        DataFormatError: If the split has fewer than 2 images or 2 captions.
        TrainingError: If a score is NaN.
    """
    extras = extras or Extras()
    scored = _score_all(matchers, split, extras.bank, fusion)
    similarity = weighted_mean([part.similarity for part in scored], weights)
    banks = [part.bank for part in scored if part.bank is not None]
    bank = BankScores(*(weighted_mean(parts, weights) for parts in zip(*banks, strict=True))) if banks else None
    return _measure(
        similarity,
        torch.as_tensor(split.caption_to_image),
        protocol,
        extras,
        relevant=None if extras.near_duplicates is None else relevant_pairs(split, extras.near_duplicates),
        bank=bank,
        seconds=sum(part.seconds for part in scored),
        warnings=_warnings(matchers, split, [part.similarity for part in scored]),
    )


def choose_weights(groups: Sequence[Sequence[TrainedMatcher]], split: Split, *, fusion: str) -> list[float]:
    """Choose the weights of an ensemble on a split, usually validation; see `fusion.select_weights`.

    Args:
        groups: Models of the ensemble; those of a group, such as seeds of one recipe, share its weight equally.
        split: Opened split.
        fusion: Fusion of the scores, see `evaluate_split`.

    Returns:
        One weight per model, group by group, rounded to six digits.

    Raises:
        ConfigError: If ``fusion`` is unknown.
        CheckpointError: If a model does not fit the split.
        DataFormatError: If the split has fewer than 2 images or 2 captions.
        TrainingError: If a score is NaN.
    """
    means = [
        weighted_mean([part.similarity for part in _score_all(group, split, None, fusion)], None) for group in groups
    ]
    chosen = select_weights(means, torch.as_tensor(split.caption_to_image))
    return [round(weight / len(group), 6) for weight, group in zip(chosen, groups, strict=True) for _ in group]


def evaluate_scores(
    scores: GivenScores, protocol: EvaluationProtocol, extras: Extras, split: Split | None = None
) -> Evaluation:
    """Rank the galleries of a protocol by the scores of another program.

    Args:
        scores: Score matrix.
        protocol: Galleries to rank.
        extras: Evaluations in addition to the raw metrics.
        split: Data of these images and captions, for near-duplicates.

    Raises:
        ConfigError: If the gallery is smaller than the protocol asks for, or near-duplicates need data.
        DataFormatError: If the data have other images or captions.
    """
    if split is not None and not np.array_equal(split.caption_to_image, scores.caption_to_image):
        raise DataFormatError(
            f"{scores.path}: {scores.num_images:,} images and {scores.num_captions:,} captions; "
            f"{split.captions_path} has {split.num_images:,} and {split.num_captions:,}, or pairs them otherwise. "
            "Score this split, or remove data.root"
        )
    relevant = None
    if extras.near_duplicates is not None:
        if split is None:
            raise ConfigError("near_duplicates.threshold needs the features: set data.root and split as well")
        relevant = relevant_pairs(split, extras.near_duplicates)
    return _measure(
        scores.similarity,
        torch.as_tensor(scores.caption_to_image),
        protocol,
        extras,
        relevant=relevant,
        bank=None,
        seconds=None,
        warnings=_collapse(scores.similarity),
    )


def _measure(
    similarity: Float[Tensor, "I C"],
    owners: Tensor,
    protocol: EvaluationProtocol,
    extras: Extras,
    *,
    relevant: Tensor | None,
    bank: BankScores | None,
    seconds: float | None,
    warnings: Sequence[str],
) -> Evaluation:
    """Rank by the raw scores, after each correction, and with near-duplicates as correct."""
    raw = Measured.of(rank_galleries(similarity, owners, protocol), protocol)
    corrected = {}
    for name in extras.corrections:
        rescore = corrector(name, extras.settings, bank)
        corrected[name] = Measured.of(rank_galleries(similarity, owners, protocol, rescore=rescore), protocol)
    near, far = None, []
    if extras.near_duplicates is not None and relevant is not None:
        measured = Measured.of(rank_galleries(similarity, owners, protocol, relevant=relevant), protocol)
        near = NearDuplicates(extras.near_duplicates, int(relevant.sum()) - len(owners), measured)
        share = 100 * near.extra_pairs / similarity.numel()
        if share >= MANY_NEAR:
            far.append(
                f"near_duplicates.threshold={extras.near_duplicates:g} makes {share:.0f} % of all pairs correct, most "
                "of which are other pictures: choose a smaller cosine distance, such as 0.02"
            )
    smallest = protocol.smallest_gallery(len(similarity))
    clipped = clipped_settings(extras.corrections, extras.settings, extras.bank, smallest)
    return Evaluation(similarity, raw, corrected, near, seconds, [*warnings, *clipped, *far])


class _Scored(NamedTuple):
    """Scores of one model, ready for fusion."""

    similarity: Float[Tensor, "I C"]
    bank: BankScores | None
    seconds: float


def _score_all(matchers: Sequence[TrainedMatcher], split: Split, bank: Bank | None, fusion: str) -> list[_Scored]:
    """Score the split, and the bank against it, by each model, on the scale that the fusion asks for."""
    if split.num_images < 2 or split.num_captions < 2:
        raise DataFormatError(
            f"{split.captions_path}: {split.num_images} image(s) and {split.num_captions} caption(s); recall needs at "
            "least 2 of each"
        )
    return [_score(matcher, split, bank, fusion) for matcher in matchers]


def _score(matcher: TrainedMatcher, split: Split, bank: Bank | None, fusion: str) -> _Scored:
    images, texts = matcher.encode_split(split)
    start = time.perf_counter()
    similarity = matcher.similarity(images, texts)
    seconds = time.perf_counter() - start
    others: list[Tensor] = []
    if bank is not None:
        bank_images, bank_texts = matcher.encode_split(bank.split, bank.images, bank.captions)
        others = [matcher.similarity(bank_images, texts), matcher.similarity(images, bank_texts)]
    similarity, *others = on_common_scale(similarity, others, fusion)
    return _Scored(similarity, BankScores(*others) if others else None, seconds)


def _warnings(
    matchers: Sequence[TrainedMatcher], split: Split, similarities: Sequence[Float[Tensor, "I C"]]
) -> list[str]:
    """Find reasons to doubt the metrics: a collapsed model, and many unknown words."""
    if len(matchers) == 1:
        found = _collapse(similarities[0])
    else:
        found = [
            f"the model of run {matcher.metadata['run_id']} has collapsed: all its scores are {scores[0, 0]:.6g}, so "
            "that it adds nothing to the ensemble"
            for matcher, scores in zip(matchers, similarities, strict=True)
            if _is_constant(scores)
        ]
    for matcher in matchers:
        unknown = matcher.unknown_words(split.captions)
        if unknown >= MANY_UNKNOWN:
            found.append(
                f"{unknown:.0f} % of the words of {split.captions_path} are unknown to the model of run "
                f"{matcher.metadata['run_id']}: it was trained on other data or with another tokenizer"
            )
    return found


def _costs(pairs: int, seconds: float) -> dict[str, object]:
    return {
        "similarity_seconds": seconds,
        "pairs_per_second": pairs / seconds,
        "peak_memory_mib": peak_memory_mib(),
    }


def _collapse(similarity: Float[Tensor, "I C"]) -> list[str]:
    if not _is_constant(similarity):
        return []
    return [
        f"all {similarity.numel():,} scores are {similarity[0, 0]:.6g}: the model has collapsed; equal scores rank "
        "by index, so the metrics are at chance level"
    ]


def _is_constant(similarity: Float[Tensor, "I C"]) -> bool:
    return bool((similarity == similarity[0, 0]).all())
