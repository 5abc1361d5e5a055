"""The two encoders of a model with one vector per image and caption, as ONNX graphs."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import AuxiliaryPooling, TokenMatcher

TOLERANCE = 1e-4
"""Largest difference between a score of the graphs and one of the model."""
OPSET = 20
_TRACED = (2, 5)
"""Images or captions, and regions or tokens, of the inputs with which a graph is traced; both are dynamic in it."""
_PROBES = ((1, 3), (4, 9))
"""The same, of the inputs on which a graph is compared with the model."""


class Side(NamedTuple):
    """One of the two encoders.

    Attributes:
        name: Name of the file, without ``.onnx``.
        values: Name of the first input, ``regions`` or ``token_ids``.
        mask: Name of the second input, ``True`` where a value is real.
    """

    name: str
    values: str
    mask: str


IMAGE = Side("image_encoder", "regions", "region_mask")
TEXT = Side("text_encoder", "token_ids", "token_mask")


class _Encoder(nn.Module):
    """Encoder with tensors as inputs and output, as a graph has them."""

    def __init__(self, matcher: Any, side: Side) -> None:
        super().__init__()
        self.matcher = matcher
        self.takes_regions = side is IMAGE

    def forward(self, values: Tensor, mask: Bool[Tensor, "N L"]) -> Float[Tensor, "N D"]:
        encode = self.matcher.encode_images if self.takes_regions else self.matcher.encode_texts
        return encode(values, mask).pooled


def has_whole_score(matcher: TrainedMatcher) -> bool:
    """Check whether the score of a model is the product of its two vectors.

    Returns:
        ``False`` if the product is a part of the score, as for VSE.

    Raises:
        CheckpointError: If the model has no vectors that can be compared.
    """
    model = matcher.matcher
    with torch.no_grad():
        images = model.encode_images(*_inputs(matcher, IMAGE, *_PROBES[1]))
        texts = model.encode_texts(*_inputs(matcher, TEXT, *_PROBES[1]))
    if images.pooled is None or texts.pooled is None or isinstance(model, TokenMatcher | AuxiliaryPooling):
        raise CheckpointError(
            f"{type(model).__name__} scores each image with each caption, by regions and words; it has no encoders "
            "that could be used alone. Models that can be exported: cca, dual_encoder, vse_infinity, vse_plus_plus, "
            "vse, bert_vse, bert_vse_infinity, pretrained_cca, chinese_clip, dual_path"
        )
    with torch.no_grad():
        scores = model.similarity(images, texts)
    return torch.allclose(scores, images.pooled @ texts.pooled.T, atol=TOLERANCE)


def write_graph(matcher: TrainedMatcher, side: Side, folder: Path) -> int:
    """Write one encoder as ``<side.name>.onnx``, and compare it with the model.

    Args:
        matcher: Model with one vector per image and caption, on the CPU.
        side: Encoder to write.
        folder: Existing folder.

    Returns:
        Components of a vector, D.

    Raises:
        CheckpointError: If the encoder cannot be traced, or the graph computes something else.
        ConfigError: If the packages of the extra ``export`` are not installed.
    """
    runtime = _libraries()
    encoder = _Encoder(matcher.matcher, side).eval()
    path = folder / f"{side.name}.onnx"
    dynamic = torch.export.Dim.DYNAMIC
    with _traceable():
        try:
            program = torch.onnx.export(
                encoder,
                _inputs(matcher, side, *_TRACED),
                dynamo=True,
                input_names=[side.values, side.mask],
                output_names=["embeddings"],
                dynamic_shapes=({0: dynamic, 1: dynamic}, {0: dynamic, 1: dynamic}),
                opset_version=OPSET,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            raise CheckpointError(
                f"{type(matcher.matcher).__name__}: its {side.name} cannot be written as an ONNX graph: {reason}"
            ) from error
        assert program is not None
        _name_axes(program, side)
        program.save(path)
    session = runtime.InferenceSession(str(path))
    for number, length in _PROBES:
        inputs = _inputs(matcher, side, number, length)
        with torch.no_grad():
            expected = encoder(*inputs)
        (found,) = session.run(None, {side.values: inputs[0].numpy(), side.mask: inputs[1].numpy()})
        # Norms are about 1: a score changes by about as much as the vector, or less.
        distance = float(np.linalg.norm(found - expected.numpy(), axis=1).max())
        if not distance <= TOLERANCE:
            raise CheckpointError(
                f"{path.name}: computes vectors that differ by {distance:.2g} from those of the model, more than "
                f"{TOLERANCE:g}; use the checkpoint itself (python -m tangka_match.search)"
            )
    return expected.shape[1]


def _inputs(matcher: TrainedMatcher, side: Side, number: int, length: int) -> tuple[Tensor, Tensor]:
    """Draw inputs with padding: the first item is complete, the others are shorter."""
    generator = torch.Generator().manual_seed(0)
    if side is IMAGE:
        length = min(length, max(2, matcher.metadata["num_regions"]))
    mask = torch.arange(length) < (length - torch.arange(number) % (length - 1))[:, None]
    if side is IMAGE:
        values = torch.randn(number, length, matcher.metadata["feature_dim"], generator=generator)
        return values * mask[:, :, None], mask
    return torch.randint(len(matcher.vocabulary), (number, length), generator=generator) * mask, mask


def _name_axes(program: Any, side: Side) -> None:
    """Name the dynamic axes, for those who look at the graph."""
    items, places = ("images", "regions") if side is IMAGE else ("captions", "tokens")
    names = {str(program.model.graph.inputs[1].shape[axis]): name for axis, name in enumerate((items, places))}
    ir = import_module("onnx_ir")
    for value in (*program.model.graph.inputs, *program.model.graph.outputs):
        value.shape = ir.Shape(
            [names.get(str(size), size) if not isinstance(size, int) else size for size in value.shape]
        )


@contextmanager
def _traceable() -> Iterator[None]:
    """Turn off what ONNX lacks, and the reports of the libraries about their own code."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _libraries() -> Any:
    """Import what writes graphs; return onnxruntime.

    Raises:
        ConfigError: If a package is missing, or PyTorch is older than 2.8.
    """
    if not hasattr(torch.onnx, "ops"):
        raise ConfigError(f"export needs torch>=2.8 for recurrent layers; found {torch.__version__}")
    try:
        for name in ("onnx", "onnxscript"):
            import_module(name)
        return import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise ConfigError(f'export needs {error.name}: pip install "tangka-match[export]"') from error
