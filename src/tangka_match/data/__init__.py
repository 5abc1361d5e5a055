"""Data sets: precomp layout, feature store, captions, vocabulary, tokenizers, datasets, batch sampler, data module."""
