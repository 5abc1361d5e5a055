"""Encode a corpus, score it in chunks; no Lightning, no Hydra."""

from tangka_match.retrieval.encode import encode_caption_batches, encode_image_batches
from tangka_match.retrieval.score_matrix import score_matrix

__all__ = ["encode_caption_batches", "encode_image_batches", "score_matrix"]
