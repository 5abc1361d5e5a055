"""Kernels and waits of a training step on a GPU, counted on a CPU."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.waits import WAITING, reads_a_mask
from tangka_match.models import cross_modal_transformer, layers
from tangka_match.models.sgraf import similarity
from tangka_match.ops import squared_difference
from tangka_match.training.module import MatchingModule, ValidationSet
from tangka_match.types import RegionTextBatch

NARROWER = 16
"""Divisor of all widths; the number of kernels depends on none, except through the sizes of blocks."""
PAIRS, REGIONS, FEATURES, VOCABULARY = 128, 36, 2048 // NARROWER, 40
LENGTHS = tuple(4 + pair % 10 for pair in range(PAIRS))
"""Ten lengths: as many as among 128 captions of Flickr8k-CN, which have 8 to 11."""
ALLOCATIONS_AND_VIEWS = {
    "alias", "as_strided", "detach", "empty", "empty_like", "empty_strided", "expand", "lift_fresh", "new_empty",
    "new_empty_strided", "permute", "promote_types", "select", "slice", "split", "split_with_sizes", "squeeze", "t",
    "transpose", "unbind", "unsqueeze", "_reshape_alias", "_unsafe_view", "unfold", "view",
}  # fmt: skip
"""Operations that run no kernel on a GPU."""


class Kernels(TorchDispatchMode):
    """Counts operations that a GPU runs a kernel for, and those for which its host would wait.

    Attributes:
        counts: Kernels by operation; a call of a recurrent layer counts as one, because cuDNN has few kernels for it.
        waits: Waits by operation.
        in_recurrent_layers: Operations that a CPU runs in place of those calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self.in_recurrent_layers = 0
        self._in_recurrent_layer = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in WAITING or reads_a_mask(name, args):
            self.waits[name] += 1
        if name not in ALLOCATIONS_AND_VIEWS:
            if self._in_recurrent_layer:
                self.in_recurrent_layers += 1
            else:
                self.counts[name] += 1
        return func(*args, **(kwargs or {}))

    @contextmanager
    def recurrent_layer(self) -> Iterator[None]:
        """Count what runs within the block as one call."""
        self.counts["recurrent layer"] += 1
        self._in_recurrent_layer = True
        yield
        self._in_recurrent_layer = False


def kernels_of_step(matcher: nn.Module, loss: nn.Module) -> Kernels:
    """Count a training step: forward, backward, and clipping of the gradients."""
    module = MatchingModule(
        matcher,
        loss,
        optimizer=torch.optim.SGD,
        scheduler=torch.optim.lr_scheduler.LambdaLR,
        augmentation=lambda batch: batch,
        validation=ValidationSet(torch.arange(1), torch.arange(1), 1),
        metadata={},
    ).train()
    module.trainer = lone_trainer()
    batch = draw_batch(matcher.feature_dim)
    with Kernels() as kernels, _as_on_a_gpu(kernels):
        module.training_step(batch, 0).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 2.0, foreach=True)
    return kernels


def lone_trainer() -> SimpleNamespace:
    """Return what a training step reads of Lightning's trainer, at a step that is not logged."""
    return SimpleNamespace(
        world_size=1,
        global_step=3,
        current_epoch=0,
        precision_plugin=None,
        estimated_stepping_batches=100,
        log_every_n_steps=50,
    )


def draw_batch(feature_dim: int) -> RegionTextBatch:
    """Draw 128 pairs with ten lengths of captions."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    index = torch.arange(PAIRS)
    batch = {
        "regions": torch.rand(PAIRS, REGIONS, feature_dim, generator=generator),
        "region_mask": torch.ones(PAIRS, REGIONS, dtype=torch.bool),
        "token_ids": torch.randint(4, VOCABULARY, mask.shape, generator=generator).masked_fill(~mask, 0),
        "token_mask": mask,
        "image_index": index,
        "caption_index": index,
        "text_group": index,
        "lengths": LENGTHS,
    }
    # The experiment that counts the commits before this one: batches did not always hold the lengths.
    return RegionTextBatch(**{name: batch[name] for name in RegionTextBatch._fields})


@contextmanager
def _as_on_a_gpu(kernels: Kernels) -> Iterator[None]:
    """Take groups and blocks as on a GPU, and count methods that copy to the host, and recurrent layers as one call."""
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(similarity, "GROUPS_ON_GPU"):
            group = similarity.group_by_length
            most = similarity.GROUPS_ON_GPU
            patch.setattr(similarity, "group_by_length", lambda *args, max_groups: group(*args, max_groups=most))
        blocks = squared_difference.BLOCK_ELEMENTS
        patch.setitem(blocks, "cpu", blocks["cuda"] // NARROWER)
        patch.setattr(cross_modal_transformer, "BLOCK_ELEMENTS", cross_modal_transformer.BLOCK_ELEMENTS // NARROWER)
        for name in ("cpu", "numpy", "tolist"):
            patch.setattr(torch.Tensor, name, _counted(kernels, name))
        run = layers.run_masked

        def run_once(rnn: nn.Module, inputs: Tensor, *lengths: Any) -> Tensor:
            return _OneCall.apply(kernels, lambda x: run(rnn, x, *lengths), inputs, *rnn.parameters())

        for name, module in list(sys.modules.items()):
            if name.startswith("tangka_match.") and hasattr(module, "run_masked"):
                patch.setattr(module, "run_masked", run_once)
        yield


def _counted(kernels: Kernels, name: str) -> Callable[[Tensor], Any]:
    read = getattr(torch.Tensor, name)

    def reading(tensor: Tensor) -> Any:
        kernels.waits[name] += 1
        return read(tensor)

    return reading


class _OneCall(torch.autograd.Function):
    """Recurrent layer whose forward and backward pass are one call each."""

    @staticmethod
    def forward(
        ctx: Any, kernels: Kernels, run: Callable[[Tensor], Tensor], inputs: Tensor, *weights: Tensor
    ) -> Tensor:
        ctx.kernels, ctx.weights = kernels, weights
        with kernels.recurrent_layer(), torch.enable_grad():
            ctx.inputs = inputs.detach().requires_grad_(inputs.requires_grad)
            ctx.outputs = run(ctx.inputs)
        return ctx.outputs.detach()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        sources = [ctx.inputs, *ctx.weights] if ctx.inputs.requires_grad else list(ctx.weights)
        with ctx.kernels.recurrent_layer():
            gradients = torch.autograd.grad(ctx.outputs, sources, gradient)
        return (None, None, *[None] * (1 + len(ctx.weights) - len(sources)), *gradients)
