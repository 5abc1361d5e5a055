"""Ranks, recall, rank statistics, intervals, and ``RetrievalMetrics``; no Hydra, Lightning or wandb."""
