"""A frozen pretrained text encoder as a teacher: how similar it finds the captions of a batch."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.progress import track
from torch import Tensor

from tangka_match.data.dataset import CaptionDataset, collate_captions
from tangka_match.data.encoding import encode_captions
from tangka_match.data.split import Split
from tangka_match.data.tokenizer import PieceTokenizer
from tangka_match.hub import read_config
from tangka_match.models.text_tower import TextTower
from tangka_match.ops import l2_normalise, tf32
from tangka_match.types import CaptionBatch

_BATCH_SIZE = 64
_PROGRESS_BATCHES = 20
"""Number of batches from which encoding shows a progress bar."""


class SentenceTeacher:
    """Cosines between the captions of a training set, from the sentence vectors of a pretrained text encoder.

    A sentence vector is the mean of the encoder's last states. Vectors are centred on the training captions before they
    are normalised, because those of most encoders have one direction in common: all cosines of E5 are above 0.7. Each
    process encodes every caption once, before its first step, on the device of the run: about two minutes for 30,000
    captions of a small encoder on a CPU core. The encoder is not saved in checkpoints and draws no random numbers.

    Args:
        text_model: Folder of the pretrained model, or its name on the Hugging Face hub.
        prefix: Text before every caption, as the encoder was pretrained: ``"query: "`` for E5.
        split: The opened training split.

    Raises:
        ConfigError: If the model cannot be read.
    """

    def __init__(self, text_model: str, prefix: str, split: Split) -> None:
        tokenizer = PieceTokenizer(text_model, prefix)
        self._captions = encode_captions(
            map(tokenizer, split.captions), tokenizer.vocabulary, tokenizer.max_tokens, split.captions_path
        )
        with torch.random.fork_rng(devices=[]):  # it is initialised at random before its weights are read
            self._tower = TextTower.pretrained(
                read_config(text_model), text_model, len(tokenizer.vocabulary), lr_multiplier=1.0, thaw_at=1.0
            )
        self._vectors: Tensor | None = None

    def cosines(self, caption_index: Int[Tensor, " B"], device: torch.device) -> Float[Tensor, "B B"]:
        """Compute the cosine of every two captions, in [-1, 1], without gradient.

        Args:
            caption_index: Indices of the split's captions.
            device: Device to compute on.
        """
        if self._vectors is None:
            self._vectors = self._encode(device)
        vectors = self._vectors[caption_index]
        return vectors @ vectors.T

    @torch.no_grad()
    def _encode(self, device: torch.device) -> Float[Tensor, "C H"]:
        tower = self._tower.to(device)
        vectors = torch.empty(len(self._captions), tower.width, device=device)
        with torch.autocast(device.type, enabled=False), tf32(allowed=False):
            for batch in self._batches():
                found = tower.sentences(batch.token_ids.to(device), batch.token_mask.to(device))
                vectors[batch.caption_index.to(device)] = found
        return l2_normalise(vectors - vectors.mean(dim=0))

    def _batches(self) -> Iterator[CaptionBatch]:
        """Yield batches of captions of similar length, which reduces padding."""
        dataset = CaptionDataset(self._captions)
        order = np.argsort(np.diff(self._captions.offsets), kind="stable")
        starts = range(0, len(order), _BATCH_SIZE)
        shown = track(starts, "encoding captions for the teacher", transient=True)
        for start in shown if len(starts) >= _PROGRESS_BATCHES else starts:
            yield collate_captions(dataset.__getitems__(order[start : start + _BATCH_SIZE]))
