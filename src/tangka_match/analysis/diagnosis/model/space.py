"""The joint space of a model: collapse, the modality gap, and how many dimensions are used."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from tangka_match.analysis.diagnosis.finding import Finding
from tangka_match.analysis.diagnosis.model.scored import Scored
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.ops import masked_mean
from tangka_match.types import Encoded

EQUAL = 2e-3
"""Spread of all scores below which a model at chance has collapsed; one that tells pairs apart gives over 0.05."""
CERTAIN = 3.0
"""Standard errors by which the mean rank must beat chance."""


def judge_collapse(scored: Scored) -> Finding | None:
    """Say whether the scores are constant, or rank as chance does; nothing else is worth measuring then.

    Chance puts the right image of a caption at a rank drawn evenly from 1 to I, so that the mean over n independent
    captions has mean (I + 1) / 2 and variance (I² − 1) / 12 n. Captions of one image are not independent: n is I.

    Args:
        scored: The model's view of a split.
    """
    similarity, number = scored.similarity, len(scored.similarity)
    spread = similarity.double().std(correction=0).item()
    chance = (number + 1) / 2
    mean_rank = scored.ranks.t2i.double().mean().item()
    # So few images that chance cannot be beaten by as much: all right answers first are none of its making.
    if mean_rank == 1.0 or chance - mean_rank > CERTAIN * sqrt((number**2 - 1) / 12 / number):
        return None
    ranked = f"a caption's image stands at place {mean_rank:.0f} of {number:,} on average, {chance:g} is chance"
    if spread < EQUAL:
        low, high = similarity.min().item(), similarity.max().item()
        scores = f"are {low:.6g}" if low == high else f"lie between {low:.6g} and {high:.6g}"
        return Finding(
            "collapsed",
            "fault",
            f"all {similarity.numel():,} scores of {scored.split.name} {scores} (spread {spread:.1e}); {ranked}",
            "the model tells nothing apart; hubs, failing words and worst queries mean nothing and are left out",
            "train again from all negatives (loss.hard_negatives=0.0, or loss=curriculum), with a lower optimizer.lr "
            "or a longer scheduler.warmup_steps; the curves of its run (section Training, drawn where run= is given) "
            "show when it happened",
        )
    return Finding(
        "chance",
        "fault",
        f"{ranked}; scores do differ, their spread is {spread:.2g}",
        "the scores say nothing of what belongs together; hubs, failing words and worst queries are left out",
        "look whether captions and images of this set are in the same order, whether it is the set that the model was "
        "trained for, and whether training has only begun",
    )


FEW = 5.0
"""Effective dimensions below which a space counts as collapsed."""
TOLD = 2.0
"""Points of mean R@1 that closing the gap must win for a finding."""


@dataclass(frozen=True)
class Space:
    """What was measured of a joint space.

    Args:
        of: Which vectors, for people.
        gap: Modality gap of unit vectors, in [0, 2].
        ranks: Effective rank of image and of caption vectors.
        dims: D.
        explained: Percent of the variance of the model's scores that the cosines of these vectors explain.
        mean_r1: Of these cosines alone, and once the gap is closed.
        spectra: Singular values of the centred image and caption vectors, as shares of their sum.
    """

    of: str
    gap: float
    ranks: tuple[float, float]
    dims: int
    explained: float
    mean_r1: tuple[float, float]
    spectra: tuple[Sequence[float], Sequence[float]]


def vectors(encoded: Encoded) -> Float[Tensor, "N D"]:
    """Unit vectors, one an item: the pooled ones, or the mean of regions or words where a model pools nothing."""
    if encoded.pooled is not None:
        return normalize(encoded.pooled.double(), dim=1)
    assert encoded.tokens is not None and encoded.mask is not None
    return normalize(masked_mean(encoded.tokens.double(), encoded.mask), dim=1)


def modality_gap(images: Float[Tensor, "I D"], texts: Float[Tensor, "C D"]) -> float:
    """Distance of the mean image vector from the mean caption vector.

    Liang, Zhang, Kwon, Yeung, Zou: "Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive
    Representation Learning", NeurIPS 2022, arXiv 2203.02053, section 4.2; CLIP has 0.82 on MS-COCO.

    Args:
        images: Unit vectors.
        texts: Unit vectors.

    >>> modality_gap(torch.eye(2)[:1], torch.eye(2)[:1]), modality_gap(torch.tensor([[1.0]]), torch.tensor([[-1.0]]))
    (0.0, 2.0)
    """
    return (images.mean(dim=0) - texts.mean(dim=0)).norm().item()


def effective_rank(spectrum: Float[Tensor, " K"]) -> float:
    """Exponential of the entropy of singular values that are scaled to sum 1.

    Roy, Vetterli: "The effective rank: A measure of effective dimensionality", EUSIPCO 2007, definition 1.

    Returns:
        In [1, K]; 0 where all singular values are 0, that is, where all vectors are one and the same.

    >>> round(effective_rank(torch.tensor([1.0, 1.0, 0.0])), 4), effective_rank(torch.zeros(3))
    (2.0, 0.0)
    """
    total = spectrum.sum()
    if total <= 0:
        return 0.0
    shares = spectrum / total
    return torch.special.entr(shares).sum().exp().item()


def spectrum(units: Float[Tensor, "N D"]) -> Float[Tensor, " K"]:
    """Singular values of the vectors about their mean; what is rounding error beside the vectors counts as 0."""
    values: Tensor = torch.linalg.svdvals(units - units.mean(dim=0))
    return torch.where(values > 1e-6 * len(units) ** 0.5, values, 0.0)


def closed(images: Float[Tensor, "I D"], texts: Float[Tensor, "C D"]) -> tuple[Tensor, Tensor]:
    """Move both sides half of the gap towards each other, and back onto the sphere (Liang et al., section 4.3)."""
    half = (images.mean(dim=0) - texts.mean(dim=0)) / 2
    return normalize(images - half, dim=1), normalize(texts + half, dim=1)


def measure_space(
    images: Encoded, texts: Encoded, similarity: Float[Tensor, "I C"], owners: Int[Tensor, " C"]
) -> Space | None:
    """Measure gap and ranks of the vectors, and what they have to do with the scores.

    Args:
        images: Encoded.
        texts: Encoded.
        similarity: The model's scores, (I, C).
        owners: (C,) row of each caption's image.

    Returns:
        ``None`` where image and caption vectors have different dimensions.
    """
    left, right = vectors(images), vectors(texts)
    if left.shape[1] != right.shape[1]:
        return None
    spectra = (spectrum(left), spectrum(right))
    cosines = left @ right.T
    both = torch.stack([cosines.flatten(), similarity.double().flatten()])
    correlation = torch.corrcoef(both)[0, 1].nan_to_num().item()
    moved_left, moved_right = closed(left, right)
    recalls = [
        summarise(retrieval_ranks(scores, owners))["mean_r1"] for scores in (cosines, moved_left @ moved_right.T)
    ]
    return Space(
        of="pooled vectors" if images.pooled is not None else "means of the region and word vectors",
        gap=modality_gap(left, right),
        ranks=(effective_rank(spectra[0]), effective_rank(spectra[1])),
        dims=left.shape[1],
        explained=100.0 * correlation**2,
        mean_r1=(recalls[0], recalls[1]),
        spectra=tuple((values / values.sum().clamp(min=1e-30)).tolist() for values in spectra),  # type: ignore[arg-type]
    )


def judge_space(space: Space, items: int) -> list[Finding]:
    """Whether dimensions are wasted, and whether the gap costs anything.

    Args:
        space: As measured.
        items: Images or captions, whichever are fewer; so few vectors cannot have a higher rank.
    """
    findings = []
    for name, rank in zip(("image", "caption"), space.ranks, strict=True):
        if rank < min(FEW, 0.2 * items):
            findings.append(
                Finding(
                    "low_rank",
                    "warning",
                    f"the {name} vectors ({space.of}) have an effective rank of {rank:.1f}, of {space.dims:,} "
                    "dimensions: they vary along a few directions alone",
                    f"{name}s that differ in anything else get the same vector",
                    "more negatives a batch, InfoNCE in place of the hardest negative, a lower optimizer.lr, and look "
                    "at train/similarity_std of the run",
                )
            )
    raw, moved = space.mean_r1
    if moved - raw >= TOLD and space.explained >= 50:
        findings.append(
            Finding(
                "modality_gap",
                "info",
                f"images and captions lie {space.gap:.2f} apart; moved onto each other, the cosines of the {space.of} "
                f"have a mean R@1 of {moved:.1f} % instead of {raw:.1f} %",
                "a shift that all images share says nothing of a pair, and yet it decides some of the ranks",
                "subtract the mean training vector of each side before the cosine, or train longer at a higher "
                "temperature",
                points=moved - raw,
            )
        )
    return findings
