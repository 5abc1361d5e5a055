"""Diagnosis of a trained model: collapse, hubs, embedding space, failing captions and queries, attention."""
