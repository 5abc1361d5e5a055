"""The numbers that the published SGRAF network gave, and models built to reproduce them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tangka_match.models import SGRAF

NAMES = ("sgr_bigru", "sgr_gru_step2", "sgr_rect", "saf_bigru", "saf_nonorm", "saf_rect")
SQUARE_NAMES = ("sgr_bigru", "sgr_gru_step2", "saf_bigru", "saf_nonorm")


class Fixture(NamedTuple):
    model: SGRAF
    regions: Tensor
    region_mask: Tensor
    token_ids: Tensor
    token_mask: Tensor
    numbers: dict[str, Tensor]

    def similarity(self) -> Tensor:
        images = self.model.encode_images(self.regions, self.region_mask)
        texts = self.model.encode_texts(self.token_ids, self.token_mask)
        return self.model.similarity(images, texts)

    def group(self, prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in self.numbers.items() if key.startswith(prefix)}


def load_fixture(folder: Path, name: str) -> Fixture:
    """Build the network of a fixture with its weights, every dropout 0."""
    with np.load(folder / f"{name}.npz") as arrays:
        numbers = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays}
    sizes = json.loads((folder / f"{name}.json").read_text())
    model = SGRAF(
        vocab_size=sizes["vocab_size"],
        feature_dim=sizes["img_dim"],
        reasoning=sizes["module_name"].lower(),
        embed_dim=sizes["embed_size"],
        word_dim=sizes["word_dim"],
        sim_dim=sizes["sim_dim"],
        num_layers=sizes["num_layers"],
        bidirectional=sizes["bi_gru"],
        graph_steps=sizes["sgr_step"],
        dropout=0.0,
        normalise_images=not sizes["no_imgnorm"],
        normalise_texts=not sizes["no_txtnorm"],
    )
    state = {key.removeprefix("state/"): value for key, value in numbers.items() if key.startswith("state/")}
    model.load_state_dict(state, strict=True)
    captions = numbers["captions"]
    return Fixture(
        model=model,
        regions=numbers["images"],
        region_mask=torch.ones(numbers["images"].shape[:2], dtype=torch.bool),
        token_ids=captions,
        token_mask=torch.arange(captions.shape[1]) < numbers["lengths"][:, None],
        numbers=numbers,
    )


def published_loss(similarity: Tensor, hardest: bool, margin: float = 0.2) -> Tensor:
    """The published batch-sum hinge: only the diagonal is positive, all negatives or the hardest count."""
    diagonal = similarity.diagonal()
    off = ~torch.eye(len(similarity), dtype=torch.bool)
    captions = (margin + similarity - diagonal[:, None]).relu() * off
    images = (margin + similarity - diagonal[None, :]).relu() * off
    return captions.amax(1).sum() + images.amax(0).sum() if hardest else captions.sum() + images.sum()
