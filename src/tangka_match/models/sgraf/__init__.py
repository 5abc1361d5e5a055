"""SGRAF (Diao et al. 2021): the matcher, and its similarity encoder with the modules SGR and SAF."""

from tangka_match.models.sgraf.matcher import SGRAF

__all__ = ["SGRAF"]
