"""A frozen pretrained text encoder as a teacher: how similar it finds the captions of a batch."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from rich.progress import track
from torch import Tensor

from tangka_match.data.dataset import CaptionDataset, collate_captions
from tangka_match.data.encoding import EncodedCaptions, encode_captions
from tangka_match.data.split import Split
from tangka_match.data.tokenizer import PieceTokenizer
from tangka_match.hub import read_config
from tangka_match.models.text_tower import TextTower
from tangka_match.ops import full_precision, l2_normalise
from tangka_match.retrieval.score_matrix import fits_on_gpu
from tangka_match.types import CaptionBatch, Encoded

_BATCH_SIZE = 64
_PROGRESS_BATCHES = 20
"""Number of batches from which encoding shows a progress bar."""


class SentenceTeacher:
    """Cosines between the captions of a training set, from the sentence vectors of a pretrained text encoder.

    A sentence vector is the mean of the encoder's last states, so encoders that were pretrained with mean pooling fit,
    such as E5. The vectors of each set are centred on its mean before they are normalised, because those of most
    encoders have one direction in common, as have those of a domain: all cosines of E5 are above 0.7; after centring
    those of captions without relation are about 0.

    Each process encodes every caption once, before its first step, on the device of the run. The vectors, 4 bytes per
    dimension, stay there if they take at most ``GPU_MEMORY_SHARE`` of its free memory, else in the memory of the host.
    The encoder is then released; it is not saved in checkpoints and does not draw from the run's random generators.

    Args:
        text_model: Folder of the pretrained model, or its name on the Hugging Face hub.
        prefix: Text before every caption, as the encoder was pretrained: ``"query: "`` for E5.
        splits: The opened training sets; captions are numbered consecutively across them.

    Raises:
        ConfigError: If the model cannot be read.
        DataFormatError: If a caption has no word piece.
    """

    def __init__(self, text_model: str, prefix: str, splits: Sequence[Split]) -> None:
        tokenizer = PieceTokenizer(text_model, prefix)
        self._sizes = [split.num_captions for split in splits]
        self._captions = EncodedCaptions.join(
            [
                encode_captions(
                    map(tokenizer, split.captions), tokenizer.vocabulary, tokenizer.max_tokens, split.captions_path
                )
                for split in splits
            ]
        )
        with torch.random.fork_rng(devices=[]):  # it is initialised at random before its weights are read
            self._tower: TextTower | None = TextTower.pretrained(
                read_config(text_model), text_model, len(tokenizer.vocabulary), lr_multiplier=1.0, thaw_at=1.0
            )
        self._vectors: Tensor | None = None

    def cosines(self, caption_index: Int[Tensor, " B"], device: torch.device) -> Float[Tensor, "B B"]:
        """Compute the cosine of every two captions, in [-1, 1] float32, without gradient.

        Args:
            caption_index: Indices of the captions, (B,).
            device: Device to compute on.
        """
        if self._vectors is None:
            self._vectors = self._encode(device)
        vectors = self._vectors[caption_index.to(self._vectors.device)].to(device)
        with full_precision(device.type):
            return vectors @ vectors.T

    @torch.no_grad()
    def _encode(self, device: torch.device) -> Float[Tensor, "C H"]:
        assert self._tower is not None
        tower, self._tower = self._tower.to(device), None
        vectors = torch.empty(len(self._captions), tower.width)
        with full_precision(device.type):
            for batch in self._batches():
                found = tower.sentences(batch.token_ids.to(device), batch.token_mask.to(device))
                vectors[batch.caption_index] = found.cpu()
        centred = torch.cat([part - part.mean(dim=0) for part in vectors.split(self._sizes)])
        encoded = Encoded(pooled=l2_normalise(centred))
        placed = encoded.to(device) if fits_on_gpu(encoded, device) else encoded
        assert placed.pooled is not None
        return placed.pooled

    def _batches(self) -> Iterator[CaptionBatch]:
        """Yield batches of captions of similar length, which reduces padding."""
        dataset = CaptionDataset(self._captions)
        order = np.argsort(np.diff(self._captions.offsets), kind="stable")
        starts = range(0, len(order), _BATCH_SIZE)
        shown = track(starts, "encoding captions for the teacher", transient=True)
        for start in shown if len(starts) >= _PROGRESS_BATCHES else starts:
            yield collate_captions(dataset.__getitems__(order[start : start + _BATCH_SIZE]))
