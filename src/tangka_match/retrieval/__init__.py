"""Use of trained models: encode and score a corpus, evaluate, read checkpoints; without Lightning and Hydra.

``from tangka_match.retrieval import score_matrix`` gives the function, not the module of the same name.
"""

from tangka_match.retrieval.encode import encode_caption_batches, encode_image_batches
from tangka_match.retrieval.score_matrix import score_matrix

__all__ = ["encode_caption_batches", "encode_image_batches", "score_matrix"]
