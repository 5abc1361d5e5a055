"""Matchers and their parts: region encoders, text encoders, pooling, SGRAF (SAF, SGR), VSE, dual path."""

from tangka_match.models.sgraf import SGRAF

__all__ = ["SGRAF"]
