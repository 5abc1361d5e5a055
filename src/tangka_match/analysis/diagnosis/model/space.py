"""Joint embedding space of a model: modality gap and effective rank."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from tangka_match.analysis.diagnosis.finding import Finding
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.ops import masked_mean
from tangka_match.types import Encoded

MIN_EFFECTIVE_RANK = 5.0
"""Effective rank below which a space counts as collapsed."""
MIN_GAIN = 2.0
"""Gain of mean R@1 from closing the modality gap (points) from which the gap is reported."""


@dataclass(frozen=True)
class Space:
    """Measurements of a joint space.

    Args:
        of: Description of the vectors.
        gap: Modality gap of unit vectors, in [0, 2].
        ranks: Effective rank of the image and of the caption vectors.
        dims: Number of dimensions D.
        explained: Percentage of the variance of the model's scores that the cosines of these vectors explain.
        mean_r1: Mean R@1 (percent) of these cosines alone, and with the modality gap closed.
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
    """Return a unit vector per item: the pooled embedding, or the mean over regions or words if there is none."""
    if encoded.pooled is not None:
        return normalize(encoded.pooled.double(), dim=1)
    assert encoded.tokens is not None and encoded.mask is not None
    return normalize(masked_mean(encoded.tokens.double(), encoded.mask), dim=1)


def modality_gap(images: Float[Tensor, "I D"], texts: Float[Tensor, "C D"]) -> float:
    """Compute the distance between the mean image vector and the mean caption vector.

    Liang, Zhang, Kwon, Yeung, Zou: "Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive
    Representation Learning", NeurIPS 2022, arXiv 2203.02053, section 4.2; CLIP has 0.82 on MS-COCO.

    Args:
        images: (I, D) unit vectors.
        texts: (C, D) unit vectors.

    >>> modality_gap(torch.eye(2)[:1], torch.eye(2)[:1]), modality_gap(torch.tensor([[1.0]]), torch.tensor([[-1.0]]))
    (0.0, 2.0)
    """
    return (images.mean(dim=0) - texts.mean(dim=0)).norm().item()


def effective_rank(spectrum: Float[Tensor, " K"]) -> float:
    """Compute the effective rank: the exponential of the entropy of the normalised singular values.

    Roy, Vetterli: "The effective rank: A measure of effective dimensionality", EUSIPCO 2007, definition 1.

    Returns:
        Effective rank in [1, K]; 0 if all singular values are 0, that is, if all vectors are equal.

    >>> round(effective_rank(torch.tensor([1.0, 1.0, 0.0])), 4), effective_rank(torch.zeros(3))
    (2.0, 0.0)
    """
    total = spectrum.sum()
    if total <= 0:
        return 0.0
    shares = spectrum / total
    return torch.special.entr(shares).sum().exp().item()


def spectrum(units: Float[Tensor, "N D"]) -> Float[Tensor, " K"]:
    """Compute the singular values of the centred vectors; rounding errors are set to 0."""
    values: Tensor = torch.linalg.svdvals(units - units.mean(dim=0))
    return torch.where(values > 1e-6 * len(units) ** 0.5, values, 0.0)


def close_gap(images: Float[Tensor, "I D"], texts: Float[Tensor, "C D"]) -> tuple[Tensor, Tensor]:
    """Shift both modalities by half of the gap towards each other, and normalise (Liang et al., section 4.3)."""
    half = (images.mean(dim=0) - texts.mean(dim=0)) / 2
    return normalize(images - half, dim=1), normalize(texts + half, dim=1)


def measure_space(
    images: Encoded, texts: Encoded, similarity: Float[Tensor, "I C"], owners: Int[Tensor, " C"]
) -> Space | None:
    """Measure the modality gap, the effective ranks, and how well the vectors explain the scores.

    Args:
        images: Encoded images.
        texts: Encoded captions.
        similarity: (I, C) scores of the model.
        owners: (C,) row of each caption's image.

    Returns:
        The measurements; ``None`` if image and caption vectors have different dimensions.
    """
    left, right = vectors(images), vectors(texts)
    if left.shape[1] != right.shape[1]:
        return None
    spectra = (spectrum(left), spectrum(right))
    cosines = left @ right.T
    both = torch.stack([cosines.flatten(), similarity.double().flatten()])
    correlation = torch.corrcoef(both)[0, 1].nan_to_num().item()
    moved_left, moved_right = close_gap(left, right)
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
    """Report a low effective rank, and a modality gap that costs recall.

    Args:
        space: Measurements.
        items: Number of images or captions, whichever is lower; bounds the rank.
    """
    findings = []
    for name, rank in zip(("image", "caption"), space.ranks, strict=True):
        if rank < min(MIN_EFFECTIVE_RANK, 0.2 * items):
            findings.append(
                Finding(
                    "low_rank",
                    "warning",
                    f"the effective rank of the {name} vectors ({space.of}) is {rank:.1f} of {space.dims:,} dimensions",
                    f"the vectors vary in a few directions only, so {name}s that differ otherwise get similar vectors",
                    "use larger batches, InfoNCE instead of the hardest negative, or a lower optimizer.lr, and check "
                    "train/similarity_std of the run",
                )
            )
    raw, moved = space.mean_r1
    if moved - raw >= MIN_GAIN and space.explained >= 50:
        findings.append(
            Finding(
                "modality_gap",
                "info",
                f"the modality gap is {space.gap:.2f}; closing it changes the mean R@1 of the cosines of the "
                f"{space.of} from {raw:.1f} % to {moved:.1f} %",
                "an offset common to all images carries no information about a pair, but changes some of the ranks",
                "subtract the mean training vector of each modality before the cosine, or train longer at a higher "
                "temperature",
                points=moved - raw,
            )
        )
    return findings
