"""Augmentation of training batches that are already on their device."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tangka_match.data.vocabulary import Vocabulary
from tangka_match.data.word_classes import domain_synonyms, known_synonyms
from tangka_match.ops import lengths_of, to_device
from tangka_match.training.settings import AugmentationSettings
from tangka_match.types import Lengths, RegionTextBatch, WholePictureMatcher


def swap_words(token_ids: Tensor, token_mask: Tensor, share: float) -> Tensor:
    """Swap neighbouring words with probability ``share`` (Wei & Zou 2019, arXiv:1901.11196).

    A caption is divided into pairs of words, starting at random from its first or second word, and each pair is swapped
    or not. No word moves by more than one place; ``<start>`` and ``<end>`` are kept.

    Args:
        token_ids: Token ids, (B, T) int64.
        token_mask: (B, T) bool, ``True`` = real.
        share: Share of the pairs that are swapped, in [0, 1).
    """
    device, (count, length) = token_ids.device, token_ids.shape
    positions = torch.arange(length, device=device)
    begin = torch.randint(1, 3, (count, 1), device=device)
    words = inner_words(token_mask)
    both = words & torch.cat([words[:, 1:], words.new_zeros(count, 1)], dim=1)
    moves_on = both & ((positions - begin) % 2 == 0) & (torch.rand(token_ids.shape, device=device) < share)
    moves_on &= positions >= begin
    moves_back = torch.cat([moves_on.new_zeros(count, 1), moves_on[:, :-1]], dim=1)
    return token_ids.gather(1, positions + moves_on.long() - moves_back.long())


def mix_regions(regions: Tensor, region_mask: Tensor, share: float) -> Tensor:
    """Replace regions with probability ``share`` by the regions at the same positions of another image of the batch.

    This is CutMix (Yun et al. 2019, arXiv:1905.04899) on regions, with a share so small that the label is kept. Each
    image draws one partner, and keeps a region if the partner has none at its position.

    Args:
        regions: Region features, (B, R, F).
        region_mask: (B, R) bool, ``True`` = real.
        share: Share of the regions that are replaced, in [0, 1).
    """
    count, device = len(regions), regions.device
    if count < 2:
        return regions
    partner = (torch.arange(count, device=device) + torch.randint(1, count, (count,), device=device)) % count
    swapped = region_mask & region_mask[partner] & (torch.rand(region_mask.shape, device=device) < share)
    return torch.where(swapped[..., None], regions[partner], regions)


class SynonymSwap:
    """Synonym replacement (Wei & Zou 2019, arXiv:1901.11196).

    Args:
        alternatives: Ids of the synonyms of each word that has synonyms.
        vocab_size: Number of words in the vocabulary.
        share: Share of the words with synonyms that are replaced, in [0, 1).
    """

    def __init__(self, alternatives: dict[int, tuple[int, ...]], vocab_size: int, share: float) -> None:
        widest = max(map(len, alternatives.values()), default=1)
        self._table = torch.arange(vocab_size)[:, None].repeat(1, widest)
        self._counts = torch.zeros(vocab_size, dtype=torch.long)
        for word, others in alternatives.items():
            self._table[word, : len(others)] = torch.tensor(others)
            self._counts[word] = len(others)
        self._share = share

    def __call__(self, token_ids: Tensor) -> Tensor:
        """Return token ids, (B, T), with some words replaced; all synonyms of a word are equally likely."""
        device = token_ids.device
        self._table, self._counts = self._table.to(device), self._counts.to(device)
        counts = self._counts[token_ids]
        replaced = (counts > 0) & (torch.rand(token_ids.shape, device=device) < self._share)
        choice = (torch.rand(token_ids.shape, device=device) * counts).long().clamp(max=self._table.shape[1] - 1)
        return torch.where(replaced, self._table[token_ids, choice], token_ids)


def drop_regions(region_mask: Tensor, share: float) -> Tensor:
    """Mask out each real region with probability ``share``; each image keeps at least one.

    Args:
        region_mask: (B, R) bool, ``True`` = real.
        share: Share of the regions that are dropped, in [0, 1).

    Returns:
        (B, R) bool, a subset of ``region_mask``.
    """
    noise = torch.rand(region_mask.shape, device=region_mask.device).masked_fill(~region_mask, -1.0)
    luckiest = torch.zeros_like(region_mask).scatter_(1, noise.argmax(dim=1, keepdim=True), True)
    return region_mask & ((noise >= share) | luckiest)


def drop_words(token_ids: Tensor, lengths: Lengths, share: float) -> tuple[Tensor, Tensor, Lengths]:
    """Drop each word with probability ``share``; ``<start>``, ``<end>`` and the order are kept.

    The words are drawn on the host, which has to know the new lengths, with its generator.

    Args:
        token_ids: Token ids, (B, T) int64, padded at the end.
        lengths: Number of real tokens per caption.
        share: Share of the words that are dropped, in [0, 1).

    Returns:
        Token ids and mask of the shortened captions, (B, T), padded at the end, and their lengths.
    """
    positions, counts = np.arange(token_ids.shape[1]), np.array(lengths)[:, None]
    sentinel = (positions == 0) | (positions == counts - 1)
    kept = (positions < counts) & (sentinel | (torch.rand(token_ids.shape).numpy() >= share))
    order = to_device(np.argsort(~kept, axis=1, kind="stable"), token_ids.device)
    left = kept.sum(axis=1)
    mask = to_device(positions < left[:, None], token_ids.device)
    return token_ids.gather(1, order).masked_fill(~mask, 0), mask, tuple(left.tolist())


class RegionWordDrop:
    """Size augmentation of VSE∞ (Chen et al. 2021, arXiv:2011.04305, section 4.3) for regions and words.

    Args:
        region_drop: Share of the regions of an image that are dropped, in [0, 1).
        word_drop: Share of the words of a caption that are dropped, in [0, 1).
    """

    def __init__(self, region_drop: float, word_drop: float) -> None:
        self.region_drop = region_drop
        self.word_drop = word_drop

    def __call__(self, batch: RegionTextBatch) -> RegionTextBatch:
        """Return the batch with some regions masked and some captions shortened."""
        if self.region_drop:
            batch = batch._replace(region_mask=drop_regions(batch.region_mask, self.region_drop))
        if self.word_drop:
            lengths = batch.lengths or lengths_of(batch.token_mask)
            ids, mask, lengths = drop_words(batch.token_ids, lengths, self.word_drop)
            batch = batch._replace(token_ids=ids, token_mask=mask, lengths=lengths)
        return batch


def mask_regions(regions: Tensor, region_mask: Tensor, share: float) -> Tensor:
    """Replace each real region with probability ``share`` by the mean of the regions of its image.

    Unlike zeros, the mean is in the range of the features.

    Args:
        regions: Region features, (B, R, F), with any values where the mask is ``False``.
        region_mask: (B, R) bool, ``True`` = real.
        share: Share of the regions that are replaced, in [0, 1).
    """
    real = region_mask[..., None]
    total = regions.float().masked_fill(~real, 0.0).sum(dim=1, keepdim=True)
    mean = total / real.sum(dim=1, keepdim=True).clamp(min=1)
    hidden = region_mask & (torch.rand(region_mask.shape, device=region_mask.device) < share)
    return torch.where(hidden[..., None], mean.to(regions.dtype), regions)


def mask_words(token_ids: Tensor, token_mask: Tensor, share: float) -> Tensor:
    """Replace each word with probability ``share`` by ``<unk>``; ``<start>`` and ``<end>`` are kept.

    Args:
        token_ids: Token ids, (B, T) int64.
        token_mask: (B, T) bool, ``True`` = real.
        share: Share of the words that are replaced, in [0, 1).
    """
    hidden = inner_words(token_mask) & (torch.rand(token_ids.shape, device=token_ids.device) < share)
    return token_ids.masked_fill(hidden, Vocabulary.UNK)


def inner_words(token_mask: Tensor) -> Tensor:
    """Return a mask, (B, T), that is ``True`` at real words other than ``<start>`` and ``<end>``.

    Args:
        token_mask: (B, T) bool, ``True`` = real.

    >>> inner_words(torch.tensor([[True, True, True, True, False]])).tolist()
    [[False, True, True, False, False]]
    """
    positions = torch.arange(token_mask.shape[1], device=token_mask.device)
    last = token_mask.sum(dim=1, keepdim=True) - 1
    return token_mask & (positions > 0) & (positions < last)


logger = logging.getLogger(__name__)
Augmentation = Callable[[RegionTextBatch], RegionTextBatch]


def build_augmentation(settings: AugmentationSettings, vocabulary: Vocabulary, matcher: object) -> Augmentation:
    """Build the augmentation of training batches; a share of 0 draws no random numbers.

    Args:
        settings: Shares of words and regions.
        vocabulary: Vocabulary of the run, which all synonyms are in.
        matcher: Model; the first region is never changed if it is a `WholePictureMatcher`.
    """
    synonyms = None
    if settings.synonym:
        alternatives = known_synonyms(domain_synonyms(), vocabulary)
        logger.info("augmentation.synonym: %d of %d words have synonyms", len(alternatives), len(vocabulary))
        synonyms = SynonymSwap(alternatives, len(vocabulary), settings.synonym)
    keep_first = isinstance(matcher, WholePictureMatcher)
    drop = RegionWordDrop(settings.region_drop, settings.word_drop)

    def augment(batch: RegionTextBatch) -> RegionTextBatch:
        ids, regions, real = batch.token_ids, batch.regions, batch.region_mask
        if keep_first:
            batch = batch._replace(region_mask=real & (torch.arange(real.shape[1], device=real.device) > 0))
        if synonyms is not None:
            ids = synonyms(ids)
        if settings.word_swap:
            ids = swap_words(ids, batch.token_mask, settings.word_swap)
        if settings.word_mask:
            ids = mask_words(ids, batch.token_mask, settings.word_mask)
        if settings.region_mix:
            regions = mix_regions(regions, batch.region_mask, settings.region_mix)
        if settings.region_mask:
            regions = mask_regions(regions, batch.region_mask, settings.region_mask)
        batch = drop(batch._replace(token_ids=ids, regions=regions))
        if keep_first:
            batch = batch._replace(region_mask=torch.cat([real[:, :1], batch.region_mask[:, 1:]], dim=1))
        return batch

    return augment
