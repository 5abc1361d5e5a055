"""Matchers and their parts: region encoders, text encoders, pooling, SCAN, SGRAF (SAF, SGR), VSE, VSE++, and others."""

from tangka_match.models.cca import CCA
from tangka_match.models.chinese_clip import ChineseCLIP
from tangka_match.models.cross_modal_transformer import CrossModalTransformer
from tangka_match.models.dual_encoder import DualEncoder
from tangka_match.models.dual_path import DualPath
from tangka_match.models.pretrained_cca import PretrainedCCA
from tangka_match.models.pretrained_text import PretrainedText
from tangka_match.models.scan import SCAN
from tangka_match.models.sgraf import SGRAF
from tangka_match.models.vse import VSE
from tangka_match.models.vse_plus_plus import VSEPlusPlus

__all__ = [
    "CCA",
    "SCAN",
    "SGRAF",
    "VSE",
    "ChineseCLIP",
    "CrossModalTransformer",
    "DualEncoder",
    "DualPath",
    "PretrainedCCA",
    "PretrainedText",
    "VSEPlusPlus",
]
