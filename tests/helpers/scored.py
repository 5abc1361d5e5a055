"""Scores and ranks of a split, made from a score matrix."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

from tangka_match.analysis.diagnosis.model.scored import ScoredByModel
from tangka_match.metrics import Ranks, retrieval_ranks
from tangka_match.types import Encoded


def make_scored(
    similarity: Tensor,
    owners: list[int] | None = None,
    *,
    corrected: dict[str, Ranks] | None = None,
    root: Path = Path("/nowhere"),
    captions: list[str] | None = None,
) -> ScoredByModel:
    """Wrap scores (I, C) of images ``image-0`` … and their captions, by default one per image."""
    images, texts = similarity.shape
    rows = torch.arange(texts) if owners is None else torch.tensor(owners)
    sentences = [f"第{n}句" for n in range(texts)] if captions is None else captions
    split = SimpleNamespace(
        name="val",
        captions=tuple(sentences),
        image_ids=tuple(f"image-{n}" for n in range(images)),
        num_captions=texts,
        num_images=images,
        caption_to_image=rows.numpy().astype(np.int64),
        boxes=None,
        captions_path=root / "dev_caps.txt",
    )
    vectors = Encoded(pooled=torch.ones(1, 1))
    return ScoredByModel(
        split=split,
        words=[list(sentence) for sentence in sentences],
        images=vectors,
        texts=vectors,
        similarity=similarity,
        owners=rows,
        ranks=retrieval_ranks(similarity, rows),
        corrected=corrected or {},
    )
