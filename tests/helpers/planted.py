"""Small clean sets into which tests plant a fault."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from helpers.precomp import write_precomp
from tangka_match.data.split import Split, load_split

IMAGES, REGIONS, DIM = 60, 6, 48


def planted_split(
    root: Path,
    split: str,
    *,
    images: int = IMAGES,
    captions: Sequence[str] | None = None,
    change: Callable[[npt.NDArray[Any]], object] = lambda features: None,
    seed: int = 0,
) -> Split:
    """Write a split of independent random images, with features altered in place by ``change``, and open it.

    Args:
        root: Folder of the set.
        split: Name of the split; splits have the same distribution and share no image.
        images: Number of images, with one caption each.
        captions: Captions; ``None`` for distinct ones.
        change: Function that alters the features (N, R, F) float32 in place before they are written.
        seed: Seed of the images, combined with the name of the split.
    """
    features = np.random.default_rng([seed, *split.encode()]).normal(size=(images, REGIONS, DIM)).astype(np.float32) + 1
    change(features)
    sentences = [f"{split}的第{n}幅画" for n in range(images)] if captions is None else captions
    written = write_precomp(root, split, images=images, captions=sentences, ids="image")
    np.save(written.path("_ims.npy"), features)
    return load_split(root, split, check_features=False)


def codes(findings: Sequence[Any]) -> list[str]:
    """Return the codes of findings."""
    return [finding.code for finding in findings]
