"""Hubness correction inside of a model: two more dimensions of each vector hold how close it is to everything."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.ops import full_precision

BANK_SIZE = 4096
"""Largest number of training images, and of training captions, in the banks."""
NEIGHBOURS = 32
"""Bank items averaged per vector."""
_CONSTANT = 0.25
"""Value of the dimension that the other side's correction is multiplied with. It is small to keep norms near one."""


class HubCorrection(nn.Module):
    r"""Nearest-neighbour normalisation (NNN) of cosines against training items, as part of the vectors.

    Hubs are images and captions that are close to too many others. With :math:`h` the mean cosine of a vector with its
    32 closest training items of the other side, less the mean of :math:`h` over the bank, the dot product of a
    corrected image vector and a corrected caption vector is :math:`\cos(i, c) - w h_i - w h_c`. Each query sees the
    same constant added to all answers, so both directions rank as with `retrieval.hubness.nnn`, and no other test query
    is involved.
    The banks keep the vectors of the fit, so that the correction suits only small changes of the model afterwards.
    Chowdhury et al., "Nearest Neighbor Normalization Improves Multimodal Retrieval", EMNLP 2024, arXiv 2410.24114.

    Args:
        dim: Dimensions of the vectors, D.
        weight: Weight :math:`w` of the correction.

    Raises:
        ConfigError: If ``weight`` is not above 0, or infinite.
    """

    image_bank: Tensor
    text_bank: Tensor
    image_is_real: Tensor
    text_is_real: Tensor
    image_mean: Tensor
    text_mean: Tensor

    def __init__(self, dim: int, weight: float | int) -> None:
        super().__init__()
        if not 0 < weight < math.inf:
            raise ConfigError(f"hub_weight is {weight!r}; it must be 0 (no correction) or above, usually 0.25 to 1")
        self.weight = weight
        for side in ("image", "text"):
            self.register_buffer(f"{side}_bank", torch.zeros(BANK_SIZE, dim))
            self.register_buffer(f"{side}_is_real", torch.zeros(BANK_SIZE, dtype=torch.bool))
            self.register_buffer(f"{side}_mean", torch.zeros(()))

    def correct_images(self, vectors: Float[Tensor, "I D"]) -> Float[Tensor, "I D+2"]:
        """Append the correction to L2-normalised image vectors."""
        hubness = _hubness(vectors, self.text_bank, self.text_is_real) - self.image_mean
        return _append(vectors, -self.weight / _CONSTANT * hubness, torch.full_like(hubness, _CONSTANT))

    def correct_texts(self, vectors: Float[Tensor, "C D"]) -> Float[Tensor, "C D+2"]:
        """Append the correction to L2-normalised caption vectors."""
        hubness = _hubness(vectors, self.image_bank, self.image_is_real) - self.text_mean
        return _append(vectors, torch.full_like(hubness, _CONSTANT), -self.weight / _CONSTANT * hubness)

    @torch.no_grad()
    def fit(
        self,
        images: Float[Tensor, "I D"],
        texts: Float[Tensor, "C D"],
        generator: torch.Generator,
        weights: tuple[Float[Tensor, " I"], Float[Tensor, " C"]] | None = None,
    ) -> None:
        """Fill the banks with vectors of training images and captions.

        Args:
            images: L2-normalised vectors of the images.
            texts: L2-normalised vectors of the captions.
            generator: Random generator of the draw from sets that are larger than a bank.
            weights: Weights of images and captions in this draw; ``None`` = 1 each.
        """
        for side, vectors, given in zip(("image", "text"), (images, texts), weights or (None, None), strict=True):
            # Not 0: all items of a set that is smaller than a bank are drawn.
            weight = torch.ones(len(vectors)) if given is None else given.clamp(min=1e-12)
            chosen = torch.multinomial(weight, min(len(vectors), BANK_SIZE), replacement=False, generator=generator)
            drawn = vectors[chosen]
            getattr(self, f"{side}_bank").zero_()[: len(drawn)] = drawn
            getattr(self, f"{side}_is_real").zero_()[: len(drawn)] = True
        for mean, bank, real, others, others_real in (
            (self.image_mean, self.image_bank, self.image_is_real, self.text_bank, self.text_is_real),
            (self.text_mean, self.text_bank, self.text_is_real, self.image_bank, self.image_is_real),
        ):
            mean.copy_(_hubness(bank[real], others, others_real).mean())


def _hubness(vectors: Float[Tensor, "N D"], bank: Float[Tensor, "B D"], real: Tensor) -> Float[Tensor, " N"]:
    """Compute the mean cosine with the closest real items of the bank; 0 if there are none."""
    with full_precision(vectors.device.type):
        cosines = (vectors.detach().to(bank.dtype) @ bank.T).masked_fill(~real, -1.0)
        highest = cosines.topk(NEIGHBOURS, dim=1).values
        count = real.sum().clamp(max=NEIGHBOURS)
        counted = torch.arange(NEIGHBOURS, device=real.device) < count
        return (highest * counted).sum(dim=1) / count.clamp(min=1)


def _append(vectors: Float[Tensor, "N D"], first: Tensor, second: Tensor) -> Float[Tensor, "N D+2"]:
    return torch.cat([vectors, first[:, None].to(vectors.dtype), second[:, None].to(vectors.dtype)], dim=1)
