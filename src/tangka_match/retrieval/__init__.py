"""Encode a corpus, score it in chunks; no Lightning, no Hydra."""
