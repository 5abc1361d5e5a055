"""Random images and captions with ragged masks, and the strategy that draws their sizes."""

from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

VOCAB_SIZE, FEATURE_DIM, NUM_REGIONS = 30, 10, 6


class Pairs(NamedTuple):
    regions: Tensor
    region_mask: Tensor
    token_ids: Tensor
    token_mask: Tensor

    def score(self, model: torch.nn.Module) -> Tensor:
        images = model.encode_images(self.regions, self.region_mask)
        return model.similarity(images, model.encode_texts(self.token_ids, self.token_mask))

    def images(self, rows: slice | Tensor) -> "Pairs":
        return self._replace(regions=self.regions[rows], region_mask=self.region_mask[rows])

    def captions(self, rows: slice | Tensor) -> "Pairs":
        return self._replace(token_ids=self.token_ids[rows], token_mask=self.token_mask[rows])


def random_pairs(seed: int, images: int, captions: int, words: int, *, holes: bool = True) -> Pairs:
    """Draw data; images have 1 to 6 real regions (in any slots with ``holes``), captions 1 to ``words`` words."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=generator)

    region_mask = torch.arange(NUM_REGIONS) < draw(1, NUM_REGIONS, images, 1)
    if holes:
        region_mask = torch.stack([row[torch.randperm(NUM_REGIONS, generator=generator)] for row in region_mask])
    return Pairs(
        regions=torch.randn(images, NUM_REGIONS, FEATURE_DIM, generator=generator),
        region_mask=region_mask,
        token_ids=draw(0, VOCAB_SIZE - 1, captions, words),
        token_mask=torch.arange(words) < draw(1, words, captions, 1),
    )


pairs = st.builds(
    random_pairs,
    seed=st.integers(0, 2**31),
    images=st.integers(1, 5),
    captions=st.integers(1, 5),
    words=st.integers(1, 7),
)
