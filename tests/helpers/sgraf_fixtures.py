"""Numbers that the published SGRAF network gave, and models built to reproduce them."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tangka_match.models import SGRAF

TINY = Path(__file__).parents[1] / "fixtures" / "sgraf_parity"
"""Part of the fixtures, in the repository."""


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
    """Build the network of a fixture with its weights and without dropout."""
    numbers = {key: torch.from_numpy(array) for key, array in _read(folder / f"{name}.npz").items()}
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


def _read(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a shared fixture, or of a tiny one, which `make.py` beside it has packed."""
    with np.load(path) as file:
        arrays = {key: np.asarray(file[key]) for key in file}
    if "planes" not in arrays:
        return arrays
    layout = json.loads(arrays["layout"].tobytes())
    numbers = np.ascontiguousarray(arrays["planes"].T).view(np.float32)[:, 0]
    ends = np.cumsum([int(np.prod(shape)) for _, shape in layout.values()])
    parts = np.split(numbers, ends[:-1])
    return {
        key: part.astype(dtype).reshape(shape)
        for (key, (dtype, shape)), part in zip(layout.items(), parts, strict=True)
    }


def published_loss(similarity: Tensor, hardest: bool, margin: float = 0.2) -> Tensor:
    """Compute the published hinge loss, a batch sum: positives on the diagonal, all or the hardest negatives."""
    diagonal = similarity.diagonal()
    off = ~torch.eye(len(similarity), dtype=torch.bool)
    captions = (margin + similarity - diagonal[:, None]).relu() * off
    images = (margin + similarity - diagonal[None, :]).relu() * off
    return captions.amax(1).sum() + images.amax(0).sum() if hardest else captions.sum() + images.sum()
