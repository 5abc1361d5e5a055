"""Which near copies a caption tells apart: it names something that its own picture shows and the other does not."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import hypergeom
from torch import Tensor

from tangka_match.analysis.diagnosis.feature_scan import FeatureScan, watched
from tangka_match.analysis.diagnosis.near_images import unit_regions
from tangka_match.analysis.diagnosis.texts import Texts
from tangka_match.data.split import Split

CHANCE = 3e-7
"""Probability that so many of the images that show a region have the word if the two had nothing to do with each other:
that of five standard deviations of a normal distribution. An image has some 36 regions and ten words."""
FEWEST = 3
"""Training images that must show such a region and have the word in a caption."""
MOST_IMAGES = 3_000
"""Training images that are looked at; of more, an evenly spread sample."""
DIMENSIONS = 256
"""Regions are projected to so many at random: cosines keep within some 0.06 (Johnson and Lindenstrauss 1984), where one
thing seen twice and two things lie several times as far apart, and 3,000 images of 36 regions need 110 MB."""
LARGEST = 100
"""Images of a group that are compared, each with each. Of a larger one no caption is told apart: images that hang
together in such numbers are those of a broken extractor, and the pairs grow with the square."""
_BLOCK = 64


def told_apart(
    asked: Texts, images: npt.NDArray[np.int64], texts: npt.NDArray[np.int64], train: Texts, train_scan: FeatureScan
) -> frozenset[tuple[int, int]]:
    """Find captions of near copies that do not fit the copy.

    What words look like is learnt from train. A region of image A is *missing* in its near copy B if nothing in B is as
    like it as most regions of A are like one of B. Each word of A's caption is put down to the region of A with which
    it goes together best, by the standard deviations of the hypergeometric distribution: of the training images, those
    with such a region have the word in a caption more often than others. Where that region is missing in B, and so many
    would have the word by chance with a probability of ``CHANCE`` at most, the caption does not fit B.

    A rare word, or one that no region shows, tells nothing, so most errors are captions that are not told apart. Of
    captions of photographs put in the place of a near copy's, 7 of 606 were told from their own image (Flickr8k-CN,
    features learnt without labels).

    Args:
        asked: Captions and images of a split.
        images: (I,) equal for images that are nearly the same.
        texts: (C,) equal for captions of the same text; such a caption fits wherever it stands.
        train: What is learnt from; of the same feature dimension.
        train_scan: Its features.

    Returns:
        Pairs of a caption and an image of its own image's group that it does not fit, by index.
    """
    sizes = np.bincount(images)
    groups = [np.flatnonzero(images == group) for group in np.flatnonzero((sizes > 1) & (sizes <= LARGEST))]
    if not groups:
        return frozenset()
    captions: dict[int, list[int]] = defaultdict(list)
    standing: dict[int, set[int]] = defaultdict(set)
    for caption, (image, text) in enumerate(zip(asked.split.caption_to_image.tolist(), texts.tolist(), strict=True)):
        captions[image].append(caption)
        standing[image].add(text)
    experience = _Experience(train, train_scan)
    told = set()
    for members in watched(groups, "looking what captions tell apart"):
        regions, good = experience.regions(asked.split, members)
        for place, image in enumerate(members.tolist()):
            own = regions[place][good[place]]
            if len(own) == 0:
                continue
            like = experience.like(own)
            words = {c: experience.ids(asked.words[c]) for c in captions[image]}
            for other_place, other in enumerate(members.tolist()):
                theirs = regions[other_place][good[other_place]]
                if other == image or len(theirs) == 0:
                    continue
                missing, shown = _compare(own, theirs, like)
                told |= {
                    (caption, other)
                    for caption, ids in words.items()
                    if texts[caption] not in standing[other] and experience.names(ids, missing, shown)
                }
    return frozenset(told)


def _compare(
    own: Float[Tensor, "R D"], theirs: Float[Tensor, "S D"], like: Float[Tensor, "R N"]
) -> tuple[Bool[Tensor, " R"], Bool[Tensor, "R N"]]:
    """Which regions are missing in the other image, and which training images show each of them.

    The line between the same thing and another lies half-way between how like regions are to their best match in the
    near copy, and in unrelated pictures.
    """
    match = (own @ theirs.T).amax(dim=1)
    level = (match.median() + like.median(dim=1).values.median()) / 2
    return match < level, like >= level


class _Experience:
    """What the training images show, and the words of their captions.

    Args:
        train: Its captions.
        scan: Its features.
    """

    def __init__(self, train: Texts, scan: FeatureScan) -> None:
        split = train.split
        self._centre = torch.from_numpy(scan.centre)
        wide = len(scan.centre)
        generator = torch.Generator().manual_seed(0)
        self._projection = torch.randn(wide, DIMENSIONS, generator=generator) if wide > DIMENSIONS else torch.eye(wide)
        rows = np.unique(np.linspace(0, split.num_images - 1, min(split.num_images, MOST_IMAGES)).astype(np.int64))
        parted = np.array_split(rows, -(-len(rows) // _BLOCK))
        blocks = [self.regions(split, block) for block in watched(parted, "learning what words look like")]
        self._regions, self._good = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        place = {image: position for position, image in enumerate(rows.tolist())}
        self._number: dict[str, int] = {}
        said = [
            (place[image], self._number.setdefault(word, len(self._number)))
            for words, image in zip(train.words, split.caption_to_image.tolist(), strict=True)
            if image in place
            for word in words
        ]
        self._said = torch.zeros(len(rows), len(self._number))
        if said:
            self._said[tuple(torch.tensor(said).T)] = 1.0

    def regions(self, split: Split, rows: npt.NDArray[np.int64]) -> tuple[Float[Tensor, "N R D"], Bool[Tensor, "N R"]]:
        """Projected regions of norm 1, and which of them are good."""
        units, good = unit_regions(split, rows, self._centre)
        return torch.nn.functional.normalize(units @ self._projection, dim=-1), good

    def like(self, regions: Float[Tensor, "R D"]) -> Float[Tensor, "R N"]:
        """Cosine of each region with the most alike region of every training image."""
        cosines = (regions @ self._regions.flatten(0, 1).T).unflatten(1, self._good.shape)
        return cosines.masked_fill_(~self._good, -1.0).amax(dim=2)

    def ids(self, words: Sequence[str]) -> Int[Tensor, " W"]:
        """Numbers of the words that training has."""
        return torch.tensor(sorted({self._number[word] for word in words if word in self._number}), dtype=torch.int64)

    def names(self, words: Int[Tensor, " W"], missing: Bool[Tensor, " R"], shown: Bool[Tensor, "R N"]) -> bool:
        """Whether one of the words goes with a missing region, and with no other region better."""
        if len(words) == 0 or not missing.any():
            return False
        said = self._said[:, words]
        number, showing, saying = len(said), shown.float().sum(dim=1, keepdim=True), said.sum(dim=0)
        together = shown.float() @ said
        expected = showing * saying / number
        variance = expected * (1 - saying / number) * (1 - showing / number)
        beyond = (together - expected) / variance.clamp(min=1e-6).sqrt()
        most, region = beyond.masked_fill(together < FEWEST, -torch.inf).max(dim=0)
        word = ((most > 0) & missing[region]).nonzero()[:, 0]
        if len(word) == 0:
            return False
        # The tail itself: three where 0.2 are expected are six standard deviations, and come up once in 3,000.
        counts = together[region[word], word] - 1, saying[word], showing[region[word], 0]
        at_most, have, show = (count.double().numpy() for count in counts)
        return bool((hypergeom.sf(at_most, number, have, show) <= CHANCE).any())
