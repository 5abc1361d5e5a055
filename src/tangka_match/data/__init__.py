"""Precomp layout, feature store, captions, vocabulary, tokenizer, dataset, collate, samplers, data module, demo set."""
