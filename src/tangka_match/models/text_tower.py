"""Text encoder of a pretrained model: weights, learning rate, freezing."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tangka_match.errors import ConfigError
from tangka_match.hub import TEXT_TYPES, WordPieces, library, load_model, read_config
from tangka_match.ops import at_least_float32, masked_mean

_CLASSES = {"bert": "BertModel", "ernie": "ErnieModel", "chinese_clip": "ChineseCLIPModel"}
_TEXT_CLASSES = {**_CLASSES, "chinese_clip": "ChineseCLIPTextModel"}


class TextTower(nn.Module):
    """BERT-like encoder whose embedding rows are in the order of our vocabulary.

    Args:
        config: Config of the pretrained model, as plain values.
        vocab_size: Number of words in the vocabulary.
        lr_multiplier: Learning rate, as a multiple of the optimizer's; above 0.
        thaw_at: Share of the run, in [0, 1], during which it is frozen; 0 = never, 1 = always.

    Raises:
        ConfigError: If the config belongs to another kind of model, or a number is out of range.
    """

    def __init__(
        self, config: Mapping[str, Any], vocab_size: int, lr_multiplier: float | int, thaw_at: float | int
    ) -> None:
        super().__init__()
        if not lr_multiplier > 0 or math.isinf(lr_multiplier):
            raise ConfigError(
                f"text_lr_multiplier is {lr_multiplier!r}; it must be above 0 (thaw_at=1 never trains it)"
            )
        if not 0 <= thaw_at <= 1:
            raise ConfigError(f"thaw_at is {thaw_at!r}; it must be a share of the run, from 0 to 1")
        self.lr_multiplier = lr_multiplier
        self.thaw_at = thaw_at
        self.frozen = thaw_at > 0
        self.transformer = _build(config, vocab_size)
        self.transformer.set_attn_implementation("sdpa")  # which takes the mask of `forward`
        self.train()  # Lightning does not change modes

    @classmethod
    def pretrained(
        cls,
        config: Mapping[str, Any],
        text_model: str | None,
        vocab_size: int,
        *,
        lr_multiplier: float | int,
        thaw_at: float | int,
    ) -> "TextTower":
        """Build the encoder with the weights of ``text_model``; random ones if it is ``None``, as for a checkpoint.

        Raises:
            ConfigError: If the config belongs to another kind of model, a number is out of range, or the model cannot
                be read or does not fit the vocabulary.
        """
        tower = cls(config, vocab_size, lr_multiplier, thaw_at)
        if text_model is not None and not on_meta_device():
            rows = read_rows(text_model, vocab_size)
            encoder = read_encoder(text_model, config)
            copy_weights(tower.transformer, getattr(encoder, "text_model", encoder), rows)
        return tower

    @property
    def width(self) -> int:
        """Dimensions of an encoded word piece, H."""
        return int(self.transformer.config.hidden_size)

    def forward(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "C T H"]:
        """Encode captions.

        Parameters of a frozen encoder get no gradient (``None``), so that the optimizer skips them.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            # A mask over pairs is used as it is; for one over words transformers asks the device if all are real.
            pairs = token_mask[:, None, None, :].expand(-1, -1, token_mask.shape[1], -1)
            return self.transformer(input_ids=token_ids, attention_mask=pairs).last_hidden_state

    def sentences(self, token_ids: Int[Tensor, "C T"], token_mask: Bool[Tensor, "C T"]) -> Float[Tensor, "C H"]:
        """Encode captions as sentence vectors, the mean over all word pieces, start and end included."""
        return at_least_float32(masked_mean(self(token_ids, token_mask), token_mask))

    def set_progress(self, progress: float) -> None:
        """Freeze or thaw, depending on the completed share of the run."""
        frozen = progress < self.thaw_at or self.thaw_at == 1
        if frozen != self.frozen:
            self.frozen = frozen
            self.train()

    def train(self, mode: bool = True) -> "TextTower":
        """Set the mode; a frozen encoder stays in evaluation mode."""
        return super().train(mode and not self.frozen)


def resolve_config(text_model: str | None, text_config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the config of a pretrained model, from its folder or from a checkpoint.

    Raises:
        ConfigError: If both or neither are given, or the folder cannot be read.
    """
    if (text_model is None) == (text_config is None):
        raise ConfigError(
            f"text_model is {text_model!r} and text_config is {'set' if text_config else text_config!r}; give "
            "text_model, the folder of a pretrained model or its hub name (text_config is written by checkpoints)"
        )
    return read_config(text_model) if text_model is not None else dict(text_config or {})


def on_meta_device() -> bool:
    """Check whether parameters are created on the meta device, as in a trial construction; no weights are read then."""
    return torch.empty(0).is_meta


def read_rows(text_model: str, vocab_size: int) -> Tensor:
    """Return the row of the model's word embedding for each id of our vocabulary, (V,).

    Raises:
        ConfigError: If the data were tokenised with another vocabulary.
    """
    rows = WordPieces.read(text_model).rows
    if len(rows) != vocab_size:
        raise ConfigError(
            f"{text_model} has {len(rows):,} word pieces, but the data's vocabulary has {vocab_size:,} words: give "
            "data/tokenizer=pieces, which reads the vocabulary of model.text_model"
        )
    return torch.tensor(rows)


def copy_weights(target: nn.Module, source: nn.Module, rows: Tensor) -> None:
    """Copy the weights of an encoder to one with our vocabulary.

    Args:
        target: Encoder with our vocabulary.
        source: Pretrained encoder.
        rows: Row of the source's word embedding for each id of our vocabulary, (V,).

    Raises:
        ConfigError: If the vocabulary file lists word pieces without a vector.
    """
    weights = source.state_dict()
    key = "embeddings.word_embeddings.weight"
    if int(rows.max()) >= len(weights[key]):
        raise ConfigError(
            f"its vocabulary numbers pieces up to {int(rows.max())}, its weights have {len(weights[key])} vectors: the "
            "files of the model folder are of different models"
        )
    weights[key] = weights[key][rows]
    kept = target.state_dict().keys()
    target.load_state_dict({name: value for name, value in weights.items() if name in kept})


def read_encoder(text_model: str, config: Mapping[str, Any]) -> Any:
    """Read the pretrained encoder; of a Chinese-CLIP, the whole model."""
    return load_model(text_model, _CLASSES[config["model_type"]])


def _build(config: Mapping[str, Any], vocab_size: int) -> Any:
    kind = config.get("model_type")
    if kind not in TEXT_TYPES:
        raise ConfigError(f"text_config has model_type={kind!r}; allowed are {', '.join(TEXT_TYPES)}")
    text = dict(config["text_config"] if kind == "chinese_clip" else config)
    text |= {"vocab_size": vocab_size, "pad_token_id": 0}
    transformers = library()
    model_class = getattr(transformers, _TEXT_CLASSES[str(kind)])
    try:
        return model_class(model_class.config_class.from_dict(text), add_pooling_layer=False)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ConfigError(f"text_config describes an impossible {kind} model: {error}") from error
