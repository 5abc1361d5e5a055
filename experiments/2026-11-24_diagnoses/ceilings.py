"""Compare the estimated ceiling with the demo's oracle on planted duplicates: ``python ceilings.py FOLDER SEED OUT``.

The training split is the demo's own. Of 363 validation pictures a share copies an earlier one, in one of five ways.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tangka_match.analysis.diagnosis.ceiling import ceiling
from tangka_match.analysis.diagnosis.distinguishable import find_distinguishable_captions
from tangka_match.analysis.diagnosis.texts import Texts
from tangka_match.data.captions import group_texts
from tangka_match.data.feature_scan import FeatureScan, scan_features
from tangka_match.data.near_images import group_pairs, near_images
from tangka_match.data.split import load_split
from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.demo import DEFAULT_COMPLETENESS, Scene, make_captions, make_scenes, write_demo_set
from tangka_match.demo.caption_writer import Caption
from tangka_match.demo.feature_writer import FeatureWriter
from tangka_match.demo.grammar import Element, stream
from tangka_match.demo.lexicon import CONCEPTS, KINDS, NUMBER
from tangka_match.demo.oracle import oracle_similarity

IMAGES, SHARES, NOISE = 363, (0.05, 0.1, 0.2, 0.4), 0.3
Planted = tuple[list[Scene], list[Caption], list[int]]
"""Scenes, captions, and the picture whose features each one has: itself, or the one that it copies exactly."""


def near(seed: int, share: float) -> Planted:
    """As the demo has them: half of the copies show the same scene, half differ from it in one thing."""
    scenes = make_scenes(seed, "val", IMAGES, share)
    return scenes, make_captions(scenes, seed, DEFAULT_COMPLETENESS), list(range(IMAGES))


def again(seed: int, share: float) -> Planted:
    """The same scene painted again: other textures, light and noise."""
    copies = make_scenes(seed, "val", IMAGES, share)
    scenes = [replace(scene, elements=copies[scene.group].elements) for scene in copies]
    return scenes, make_captions(scenes, seed, DEFAULT_COMPLETENESS), list(range(IMAGES))


def exact(seed: int, share: float) -> Planted:
    """The same features, with a caption of its own."""
    scenes, captions, _ = again(seed, share)
    return scenes, captions, [scene.group for scene in scenes]


def changed(seed: int, share: float) -> Planted:
    """Every copy differs from its model in one thing."""
    scenes = [_differing(seed, scene) for scene in again(seed, share)[0]]
    return scenes, make_captions(scenes, seed, DEFAULT_COMPLETENESS), list(range(IMAGES))


def captions(seed: int, share: float) -> Planted:
    """Other pictures, that have the caption of an earlier one."""
    scenes = make_scenes(seed, "val", IMAGES, 0.0)
    own = make_captions(scenes, seed, DEFAULT_COMPLETENESS)
    sources = [scene.group for scene in make_scenes(seed, "val", IMAGES, share)]
    return scenes, [own[source] for source in sources], list(range(IMAGES))


def _differing(seed: int, scene: Scene) -> Scene:
    if scene.group == scene.index:
        return scene
    rng = stream(seed, scene.split, scene.index, "change")
    elements = list(scene.elements)
    position = int(rng.integers(2, len(elements)))  # the figure and its family stay
    old, taken = elements[position], {element.fact for element in elements}
    others = [Element(old.slot, NUMBER[other.name]) for other in KINDS[CONCEPTS[old.concept].kind]]
    others = [other for other in others if other.fact not in taken]
    elements[position] = others[int(rng.integers(len(others)))]
    return replace(scene, elements=tuple(elements))


def oracle(scenes: list[Scene], told: list[Caption]) -> float:
    """Mean R@1 of who knows the scenes; a text that stands at several pictures fits each of them alike."""
    # A caption is scored by its own facts: those of the scene that it was written for.
    scores = oracle_similarity(scenes, told, DEFAULT_COMPLETENESS)
    text = group_texts([caption.text for caption in told])
    for group in np.flatnonzero(np.bincount(text) > 1):
        standing = np.flatnonzero(text == group)
        scores[np.ix_(standing, standing)] = scores[np.ix_(standing, standing)].max()
    rounded, recalls = scores.round(6), []
    for directed in (rounded, rounded.T):
        own = directed.diagonal()[:, None]
        recalls.append(100.0 * float((~(directed > own).any(axis=1) / (directed == own).sum(axis=1)).mean()))
    return sum(recalls) / 2


def measure(root: Path, planted: Planted, writer: FeatureWriter, train: tuple[Texts, FeatureScan]) -> dict[str, float]:
    """The estimate, without and with what captions tell apart, beside the truth."""
    scenes, told, source = planted
    blocks = [writer([scenes[n] for n in source[start : start + 64]])[0] for start in range(0, IMAGES, 64)]
    np.save(root / "dev_ims.npy", np.concatenate(blocks))
    (root / "dev_caps.txt").write_text("\n".join(caption.text for caption in told) + "\n", "utf-8")
    split = load_split(root, "val")
    texts, scan = Texts(split, split.captions, [TOKENIZER(caption) for caption in split.captions]), scan_features(split)
    pairs = near_images(split, scan, split, scan)
    images, same, owners = group_pairs(pairs, IMAGES), group_texts(split.captions), split.caption_to_image
    found = find_distinguishable_captions(texts, images, same, *train)
    truth = oracle(scenes, told)
    blind, estimate = (ceiling(images, same, owners, known)["mean_r1"] for known in ((), found))
    return {"truth": truth, "blind": blind, "estimate": estimate, "error": estimate - truth, "told": len(found)}


KINDS_OF_COPIES: tuple[Callable[[int, float], Planted], ...] = (near, changed, again, exact, captions)
TOKENIZER = JiebaTokenizer()

if __name__ == "__main__":
    folder, seed, out = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    write_demo_set(folder, seed=seed, val=1, test=1, thumbnails=False)
    for stem in ("dev_ids.txt", "dev_boxes.npy"):
        (folder / stem).unlink()
    split = load_split(folder, "train")
    train = Texts(split, split.captions, [TOKENIZER(caption) for caption in split.captions]), scan_features(split)
    rows = []
    for kind in KINDS_OF_COPIES:
        for share in SHARES:
            row = measure(folder, kind(seed, share), FeatureWriter(seed, NOISE), train)
            measured = {name: round(value, 2) for name, value in row.items()}
            rows.append({"seed": seed, "kind": kind.__name__, "share": share, **measured})
            print(rows[-1], flush=True)
            out.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
