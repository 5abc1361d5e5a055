"""Runs side by side: what each says of itself, what differs between them, seeds folded; no torch."""
