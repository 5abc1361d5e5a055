"""Matchers and their parts: region encoders, text encoders, pooling, SGRAF (SAF, SGR), VSE, dual path."""

from tangka_match.models.cca import CCA
from tangka_match.models.chinese_clip import ChineseCLIP
from tangka_match.models.dual_path import DualPath
from tangka_match.models.pretrained_text import PretrainedText
from tangka_match.models.sgraf import SGRAF
from tangka_match.models.vse import VSE

__all__ = ["CCA", "SGRAF", "VSE", "ChineseCLIP", "DualPath", "PretrainedText"]
