"""Small sets without any fault, into which tests plant one."""

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
    """Write a split of independent random pictures, let ``change`` alter the features in place, and open it.

    Args:
        root: Folder of the set.
        split: Its name; two splits are drawn from one pool and share no picture.
        images: How many, one caption each.
        captions: Sentences; distinct ones where ``None``.
        change: Gets the features (N, R, F) float32 before they are written.
        seed: Of the pictures, beside the split's name.
    """
    features = np.random.default_rng([seed, *split.encode()]).normal(size=(images, REGIONS, DIM)).astype(np.float32) + 1
    change(features)
    sentences = [f"{split}的第{n}幅画" for n in range(images)] if captions is None else captions
    written = write_precomp(root, split, images=images, captions=sentences, ids="image")
    np.save(written.path("_ims.npy"), features)
    return load_split(root, split, check_features=False)


def codes(findings: Sequence[Any]) -> list[str]:
    """Codes of findings."""
    return [finding.code for finding in findings]
