"""Batch normalisation whose statistics leave padding out, for the two places where SGRAF has one."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tangka_match.errors import ShapeError
from tangka_match.ops import at_least_float32


class _BatchStatistics(nn.Module):
    """The parameters and buffers of ``nn.BatchNorm1d``, under the same names."""

    momentum = 0.1
    eps = 1e-5
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))


class RegionSlotBatchNorm(_BatchStatistics):
    """Normalise every region slot over the images that have it; equals ``nn.BatchNorm1d`` where all regions are real.

    SGRAF treats the position of a region in its image as a channel. Images may have fewer regions than there are
    slots; the slots that a batch does not fill keep their running statistics.

    Args:
        num_slots: Most regions an image may have.
    """

    def __init__(self, num_slots: int) -> None:
        super().__init__(num_slots)

    def forward(self, x: Float[Tensor, "I R D"], mask: Bool[Tensor, "I R"]) -> Float[Tensor, "I R D"]:
        """Normalise by the batch while training (padding excluded), by the running statistics otherwise.

        Raises:
            ShapeError: There are more regions than slots.
        """
        slots = x.shape[1]
        if slots > len(self.weight):
            raise ShapeError(
                f"images have {slots} regions, the model was built for at most num_regions={len(self.weight)}; "
                f"build it with num_regions={slots}, or keep fewer regions"
            )
        wide = at_least_float32(x)
        if self.training:
            mean, var = self._batch_statistics(wide.masked_fill(~mask[:, :, None], 0), mask)
        else:
            mean, var = self.running_mean[:slots], self.running_var[:slots]
        scale = self.weight[:slots] * torch.rsqrt(var + self.eps)
        return ((wide - mean[:, None]) * scale[:, None] + self.bias[:slots, None]).to(x.dtype)

    def _batch_statistics(
        self, x: Float[Tensor, "I R D"], mask: Bool[Tensor, "I R"]
    ) -> tuple[Float[Tensor, " R"], Float[Tensor, " R"]]:
        count = mask.sum(dim=0) * x.shape[2]
        mean = x.sum(dim=(0, 2)) / count.clamp(min=1)
        deviations = (x - mean[:, None]).masked_fill(~mask[:, :, None], 0)
        squares = deviations.square().sum(dim=(0, 2))
        with torch.no_grad():
            filled = count > 1
            step = self.momentum * filled.to(mean.dtype)
            slots = x.shape[1]
            self.running_mean[:slots].lerp_(mean, step)
            self.running_var[:slots].lerp_(squares / (count - 1).clamp(min=1), step)
            self.num_batches_tracked += 1
        return mean, squares / count.clamp(min=1)


class CaptionBatchNorm(_BatchStatistics):
    """Normalise one channel, in training with statistics of each caption over (images x real nodes).

    The published network walks through the captions of a batch and calls its batch norm once for each; this is the
    same in one go. The running statistics take the captions in the order of the batch.
    """

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Float[Tensor, "I C L"], mask: Bool[Tensor, "C L"]) -> Float[Tensor, "I C L"]:
        """Normalise by each caption's statistics while training, by the running statistics otherwise."""
        wide = at_least_float32(x)
        if self.training:
            count = mask.sum(dim=1) * x.shape[0]
            mean = wide.masked_fill(~mask, 0).sum(dim=(0, 2)) / count
            deviations = (wide - mean[:, None]).masked_fill(~mask, 0)
            var = deviations.square().sum(dim=(0, 2)) / count
            self._track(mean.detach(), var.detach(), count)
        else:
            mean, var = self.running_mean, self.running_var
        scale = self.weight * torch.rsqrt(var + self.eps)
        return ((wide - mean[:, None]) * scale[:, None] + self.bias).to(x.dtype)

    def _track(self, mean: Float[Tensor, " C"], var: Float[Tensor, " C"], count: Int[Tensor, " C"]) -> None:
        """Fold C updates ``running = (1 - m) * running + m * statistic`` into one weighted sum."""
        captions = len(mean)
        keep = 1 - self.momentum
        weights = self.momentum * keep ** torch.arange(captions - 1, -1, -1, device=mean.device, dtype=mean.dtype)
        unbiased = var * count / (count - 1).clamp(min=1)
        self.running_mean.mul_(keep**captions).add_(weights @ mean)
        self.running_var.mul_(keep**captions).add_(weights @ unbiased)
        self.num_batches_tracked += captions


class ItemBatchNorm(nn.BatchNorm1d):
    """``nn.BatchNorm1d`` on one vector an item that can train on a single item.

    One item has no variance; it is normalised by the running statistics, which then stay as they are.
    """

    def forward(self, input: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """Normalise every dimension."""
        if self.training and len(input) == 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
            )
        return super().forward(input)
