"""How often `find_distinguishable_captions` errs on real data: ``python placebo.py FOLDER SPLIT...``.

Within every group of near copies captions move on to another image. Whom they were written for they fit, so that a
caption which is now told from that image is told wrongly.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from tangka_match.analysis.diagnosis.distinguishable import find_distinguishable_captions
from tangka_match.analysis.diagnosis.texts import Texts
from tangka_match.data.captions import group_texts
from tangka_match.data.feature_scan import FeatureScan, scan_features
from tangka_match.data.near_images import group_pairs, near_images
from tangka_match.data.split import load_split
from tangka_match.data.tokenizer import JiebaTokenizer

TOKENIZER = JiebaTokenizer()


def opened(root: Path, name: str) -> tuple[Texts, FeatureScan]:
    """A split and its features."""
    split = load_split(root, name)
    return Texts(split, split.captions, [TOKENIZER(caption) for caption in split.captions]), scan_features(split)


def measure(root: Path, name: str, train: tuple[Texts, FeatureScan]) -> dict[str, int]:
    """Pairs of a caption and a near copy: how many there are, are told apart, and are told apart wrongly when moved."""
    asked, scan = opened(root, name)
    split = asked.split
    images = group_pairs(near_images(split, scan, split, scan), split.num_images)
    texts, owners = group_texts(split.captions), split.caption_to_image
    sizes = np.bincount(images)[images]
    wrong = 0
    for shift in range(1, sizes.max()):
        moved = np.arange(split.num_images)
        for group in np.unique(images[sizes > shift]):
            members = np.flatnonzero(images == group)
            moved[members] = np.roll(members, shift)
        elsewhere = replace(asked, split=replace(split, caption_to_image=moved[owners]))
        wrong += sum(
            image == owners[caption]
            for caption, image in find_distinguishable_captions(elsewhere, images, texts, *train)
        )
    return {
        "pairs": int((sizes[owners] - 1).sum()),
        "told": len(find_distinguishable_captions(asked, images, texts, *train)),
        "wrong": int(wrong),
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    learnt = opened(folder, "train")
    for split_name in sys.argv[2:]:
        print(split_name, measure(folder, split_name, learnt), flush=True)
