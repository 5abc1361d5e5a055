"""The demo set: painted scenes in the language of Thangka, with captions, region features, boxes and thumbnails.

Read in this order: ``figures`` and ``lexicon`` (what there is), ``grammar`` (which things are painted together),
``caption_writer``, ``placement``, ``feature_writer``, ``painting`` (what is made of a scene), ``oracle`` (how well
anybody could match them), ``write`` (the files).
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
