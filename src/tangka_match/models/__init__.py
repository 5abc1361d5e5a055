"""Matchers and their parts: region encoders, text encoders, pooling, SGRAF (SAF, SGR), VSE."""
