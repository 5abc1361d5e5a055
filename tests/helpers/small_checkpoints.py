"""Checkpoints of tiny models with random weights."""

from pathlib import Path
from typing import Any

import torch

from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.models.registry import build_matcher
from tangka_match.retrieval.metadata import METADATA_KEY, make_metadata

SAF = {"_target_": "tangka_match.models.SGRAF", "reasoning": "saf", "embed_dim": 8, "word_dim": 6, "sim_dim": 4}
SGR = SAF | {"reasoning": "sgr"}


def write_checkpoint(
    path: Path,
    captions: list[str],
    *,
    model: dict[str, Any] = SAF,
    regions: int = 4,
    dim: int = 8,
    seed: int = 0,
    weight: float | None = None,
    character_fallback: bool = False,
) -> Path:
    """Write a model with the words of the captions as its vocabulary; ``weight`` replaces all its weights."""
    torch.manual_seed(seed)
    tokenizer = JiebaTokenizer()
    words = [tokenizer(caption) for caption in captions]
    vocabulary = Vocabulary.build(words, 1, character_fallback=character_fallback)
    sizes = {"feature_dim": dim, "num_regions": regions}
    weights = build_matcher(model, vocab_size=len(vocabulary), **sizes).state_dict()
    if weight is not None:
        weights = {k: torch.full_like(v, weight) if v.is_floating_point() else v for k, v in weights.items()}
    metadata = make_metadata(
        name="tiny",
        run_id=f"run-{seed}",
        model=model,
        vocabulary=vocabulary.to_dict(),
        vocabulary_fingerprint=vocabulary.fingerprint(),
        tokenizer=tokenizer.settings(),
        max_tokens=20,
        data_fingerprint="data",
        **sizes,
    )
    content = {"state_dict": {f"matcher.{key}": value for key, value in weights.items()}, METADATA_KEY: metadata}
    torch.save(content, path)
    return path
