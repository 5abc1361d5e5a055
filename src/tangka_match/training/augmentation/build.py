"""From the settings to what changes a batch."""

import logging
from collections.abc import Callable

import torch

from tangka_match.data.synonyms import domain_synonyms, known_synonyms
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.training.augmentation.drop import RegionWordDrop
from tangka_match.training.augmentation.mask import mask_regions, mask_words
from tangka_match.training.augmentation.mix import mix_regions
from tangka_match.training.augmentation.order import swap_words
from tangka_match.training.augmentation.synonyms import SynonymSwap
from tangka_match.training.settings import AugmentationSettings
from tangka_match.types import RegionTextBatch, WholePictureMatcher

logger = logging.getLogger(__name__)
Augmentation = Callable[[RegionTextBatch], RegionTextBatch]


def build_augmentation(settings: AugmentationSettings, vocabulary: Vocabulary, matcher: object) -> Augmentation:
    """Chain the changes whose share is not 0: a share of 0 draws no random number.

    Args:
        settings: Shares of words and regions.
        vocabulary: Of the run; synonyms come from it alone.
        matcher: To be trained; the first region is left alone where it is a `WholePictureMatcher`.
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
