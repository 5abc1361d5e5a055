"""Synthetic Thangka set: scenes with captions, region features, boxes and thumbnails.

Suggested reading order: ``lexicon`` (concepts and figures), ``grammar`` (random scenes), ``caption_writer``,
``placement``, ``feature_writer`` and ``painting`` (captions, boxes, features and thumbnails of a scene), ``oracle``
(upper bound of recall), ``write`` (files), ``writer`` (the writer named in the data configs).
"""

from tangka_match.demo.grammar import Scene, make_scenes
from tangka_match.demo.oracle import oracle_recalls
from tangka_match.demo.write import (
    DEFAULT_COMPLETENESS,
    DEFAULT_DUPLICATE_SHARE,
    DEFAULT_NOISE,
    make_captions,
    write_demo_set,
)

__all__ = [
    "DEFAULT_COMPLETENESS",
    "DEFAULT_DUPLICATE_SHARE",
    "DEFAULT_NOISE",
    "Scene",
    "make_captions",
    "make_scenes",
    "oracle_recalls",
    "write_demo_set",
]
