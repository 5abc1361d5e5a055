"""Captions that distinguish their image from its near-duplicates: they mention something the near-duplicate lacks."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import hypergeom
from torch import Tensor

from tangka_match.analysis.diagnosis.texts import Texts
from tangka_match.data.feature_scan import FeatureScan, track_progress, unit_regions
from tangka_match.data.split import Split

MAX_P_VALUE = 3e-7
"""Largest probability, under independence, of the co-occurrence of a word and a region: five standard deviations of a
normal distribution. Such a small level is needed because an image has about 36 regions and ten words."""
MIN_COOCCURRENCES = 3
"""Fewest training images that show a region and have the word in a caption."""
MAX_IMAGES = 3_000
"""Most training images used; a larger split is sampled evenly."""
DIMENSIONS = 256
"""Dimensions of a random projection of the regions. Cosines keep within about 0.06 (Johnson and Lindenstrauss 1984),
several times less than the gap between two views of one object and two objects. 3,000 images of 36 regions need 110
MB."""
MAX_GROUP_SIZE = 100
"""Largest group whose images are compared pairwise. Captions of larger groups count as indistinguishable: such groups
come from a broken extractor, and the number of pairs grows with the square."""
_BLOCK = 64


def find_distinguishable_captions(
    queries: Texts, images: npt.NDArray[np.int64], texts: npt.NDArray[np.int64], train: Texts, train_scan: FeatureScan
) -> frozenset[tuple[int, int]]:
    """Find captions that do not fit a near-duplicate of their own image.

    The association of words with regions is learnt from train. A region of image A is *missing* in its near-duplicate
    B if it is less similar to every region of B than most regions of A are to their best match in B. Each word of A's
    caption is assigned to the region of A with which it co-occurs most in training, in standard deviations of the
    hypergeometric distribution. If that region is missing in B and the co-occurrence has a p-value of at most
    ``MAX_P_VALUE``, the caption does not fit B.

    Rare words and words that no region shows are not informative, so most errors are missed captions. Of 606 captions
    of photographs assigned to a near-duplicate of their own image, 7 were rejected (Flickr8k-CN, features learnt
    without labels).

    Args:
        queries: Captions and images of a split.
        images: (I,) duplicate group of each image.
        texts: (C,) text group of each caption; a caption fits every image that has a caption of its text.
        train: Training captions and images, of the same feature dimension.
        train_scan: Statistics of the training features.

    Returns:
        Pairs (caption, image), by index: the image is in the group of the caption's own image, but does not fit it.
    """
    sizes = np.bincount(images)
    groups = [np.flatnonzero(images == group) for group in np.flatnonzero((sizes > 1) & (sizes <= MAX_GROUP_SIZE))]
    if not groups:
        return frozenset()
    captions: dict[int, list[int]] = defaultdict(list)
    texts_of_image: dict[int, set[int]] = defaultdict(set)
    for caption, (image, text) in enumerate(zip(queries.split.caption_to_image.tolist(), texts.tolist(), strict=True)):
        captions[image].append(caption)
        texts_of_image[image].add(text)
    associations = _WordRegionAssociations(train, train_scan)
    mismatches = set()
    for members in track_progress(groups, "comparing captions of near-duplicates"):
        regions, valid = associations.regions(queries.split, members)
        for place, image in enumerate(members.tolist()):
            own = regions[place][valid[place]]
            if len(own) == 0:
                continue
            similarity = associations.similarity(own)
            words = {c: associations.word_ids(queries.words[c]) for c in captions[image]}
            for other_place, other in enumerate(members.tolist()):
                theirs = regions[other_place][valid[other_place]]
                if other == image or len(theirs) == 0:
                    continue
                missing, shown = _compare(own, theirs, similarity)
                mismatches |= {
                    (caption, other)
                    for caption, ids in words.items()
                    if texts[caption] not in texts_of_image[other]
                    and associations.mentions_missing(ids, missing, shown)
                }
    return frozenset(mismatches)


def _compare(
    own: Float[Tensor, "R D"], theirs: Float[Tensor, "S D"], similarity: Float[Tensor, "R N"]
) -> tuple[Bool[Tensor, " R"], Bool[Tensor, "R N"]]:
    """Find the regions that are missing in the other image, and the training images that show each region.

    The threshold is half-way between the similarity of a region to its best match in the near-duplicate, and in
    unrelated images.
    """
    match = (own @ theirs.T).amax(dim=1)
    threshold = (match.median() + similarity.median(dim=1).values.median()) / 2
    return match < threshold, similarity >= threshold


class _WordRegionAssociations:
    """Regions of training images, and the words of their captions.

    Args:
        train: Training captions and images.
        scan: Statistics of the training features.
    """

    def __init__(self, train: Texts, scan: FeatureScan) -> None:
        split = train.split
        self._centre = torch.from_numpy(scan.centre)
        wide = len(scan.centre)
        generator = torch.Generator().manual_seed(0)
        self._projection = torch.randn(wide, DIMENSIONS, generator=generator) if wide > DIMENSIONS else torch.eye(wide)
        rows = np.unique(np.linspace(0, split.num_images - 1, min(split.num_images, MAX_IMAGES)).astype(np.int64))
        chunks = np.array_split(rows, -(-len(rows) // _BLOCK))
        blocks = [self.regions(split, chunk) for chunk in track_progress(chunks, "reading the regions of train")]
        self._regions, self._valid = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        place = {image: position for position, image in enumerate(rows.tolist())}
        self._word_index: dict[str, int] = {}
        occurrences = [
            (place[image], self._word_index.setdefault(word, len(self._word_index)))
            for words, image in zip(train.words, split.caption_to_image.tolist(), strict=True)
            if image in place
            for word in words
        ]
        self._has_word = torch.zeros(len(rows), len(self._word_index))
        if occurrences:
            self._has_word[tuple(torch.tensor(occurrences).T)] = 1.0

    def regions(self, split: Split, rows: npt.NDArray[np.int64]) -> tuple[Float[Tensor, "N R D"], Bool[Tensor, "N R"]]:
        """Return projected unit-norm regions, and a mask of the valid ones."""
        units, valid = unit_regions(split, rows, self._centre)
        return torch.nn.functional.normalize(units @ self._projection, dim=-1), valid

    def similarity(self, regions: Float[Tensor, "R D"]) -> Float[Tensor, "R N"]:
        """Compute the cosine of each region with the most similar region of each training image."""
        cosines = (regions @ self._regions.flatten(0, 1).T).unflatten(1, self._valid.shape)
        return cosines.masked_fill_(~self._valid, -1.0).amax(dim=2)

    def word_ids(self, words: Sequence[str]) -> Int[Tensor, " W"]:
        """Return the ids of those words that occur in training."""
        known = {self._word_index[word] for word in words if word in self._word_index}
        return torch.tensor(sorted(known), dtype=torch.int64)

    def mentions_missing(
        self, words: Int[Tensor, " W"], missing: Bool[Tensor, " R"], shown: Bool[Tensor, "R N"]
    ) -> bool:
        """Whether one of the words is associated with a missing region, and with no other region more strongly."""
        if len(words) == 0 or not missing.any():
            return False
        has_word = self._has_word[:, words]
        number, with_region, with_word = len(has_word), shown.float().sum(dim=1, keepdim=True), has_word.sum(dim=0)
        together = shown.float() @ has_word
        expected = with_region * with_word / number
        variance = expected * (1 - with_word / number) * (1 - with_region / number)
        deviations = (together - expected) / variance.clamp(min=1e-6).sqrt()
        strongest, region = deviations.masked_fill(together < MIN_COOCCURRENCES, -torch.inf).max(dim=0)
        word = ((strongest > 0) & missing[region]).nonzero()[:, 0]
        if len(word) == 0:
            return False
        # The exact tail, not the normal one: 3 where 0.2 are expected is six deviations but has p = 1/3,000.
        counts = together[region[word], word] - 1, with_word[word], with_region[region[word], 0]
        at_most, have, show = (count.double().numpy() for count in counts)
        return bool((hypergeom.sf(at_most, number, have, show) <= MAX_P_VALUE).any())
