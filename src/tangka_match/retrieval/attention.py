"""Regions that the words of a text refer to: attention weights, or the effect of each region on the score."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.data.dataset import ImageDataset
from tangka_match.data.split import Split
from tangka_match.retrieval.encode import inference
from tangka_match.retrieval.rescoring import Rescorer
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import Attentive, Encoded

OCCLUSION = (
    "by occlusion: the decrease of the score without a region (after Zeiler and Fergus, arXiv 1311.2901), since this "
    "model has no word-to-region attention"
)


@dataclass(frozen=True)
class WordRegions:
    """Weights of the regions of an image for each word of a text.

    Args:
        words: Words, in the order of the text; those beyond the model's longest caption are missing.
        weights: Weights of the regions, (words, R); each row sums to 1, or is 0 for a word without effect.
        effects: Largest decrease of the score of each word without a region, (words,); ``None`` for attention weights.
        note: Definition of the weights.
    """

    words: Sequence[str]
    weights: npt.NDArray[np.float32]
    effects: npt.NDArray[np.float32] | None
    note: str


def weigh_regions(rescorer: Rescorer, split: Split, row: int, text: str) -> WordRegions:
    """Compute the weights of the regions of an image for each word of a text.

    Models with word-to-region attention give their weights; with others, each word is scored as a text of its own, with
    and without each region.

    Args:
        rescorer: Model, and its index of the split.
        split: Split of the image.
        row: Row of the image.
        text: Text.

    Raises:
        DataFormatError: If the text has no words.
    """
    matcher = rescorer.matcher
    words = matcher.tokenizer(text)
    if isinstance(matcher.matcher, Attentive):
        image = rescorer.index.encoded[row : row + 1]
        weights, note = attention_weights(matcher, image, matcher.encode_texts([text]), words)
        return WordRegions(words[: len(weights)], weights.numpy(), None, note)
    texts = matcher.encode_words([[word] for word in words], "query")
    drops = occlusion_drops(matcher, split, row, texts)
    drops[[not matcher.vocabulary.knows(word) for word in words]] = 0
    note = f"{OCCLUSION}; each word is scored as a text of its own"
    return WordRegions(words, shares(drops).numpy(), drops.amax(dim=1).numpy(), note)


def attention_weights(
    matcher: TrainedMatcher, image: Encoded, text: Encoded, words: Sequence[str]
) -> tuple[Float[Tensor, "W R"], str]:
    """Return the attention weights of the words of a text, and their role.

    A word that the model reads as several tokens gets the mean of their weights. Words beyond the model's longest
    caption are missing.

    Args:
        matcher: Model with word-to-region attention.
        image: One encoded image.
        text: One encoded text.
        words: Words of the text.
    """
    model = matcher.matcher
    assert isinstance(model, Attentive)
    assert text.mask is not None
    with inference(model, matcher.device, matcher.dtype):
        attention = model.word_attention(image.to(matcher.device), text.to(matcher.device))
    tokens = attention.weights[0, 0, 1 : int(text.mask[0].sum()) - 1].float().cpu()
    ends = np.cumsum([len(matcher.vocabulary.encode_word(word)) for word in words])
    parts = np.split(np.arange(len(tokens)), ends[ends < len(tokens)])
    return torch.stack([tokens[part].mean(dim=0) for part in parts]), attention.note


def occlusion_drops(matcher: TrainedMatcher, split: Split, row: int, texts: Encoded) -> Float[Tensor, "C R"]:
    """Compute the decrease of the score of each text without each region.

    Args:
        matcher: Model.
        split: Split of the image.
        row: Row of the image.
        texts: C encoded texts.

    Returns:
        Decreases; 0 where the score does not decrease, and for padding.
    """
    rows = ImageDataset(split).__getitems__(np.array([row]))
    regions, real = torch.from_numpy(rows.regions).float(), torch.from_numpy(rows.region_mask)
    number = regions.shape[1]
    mask = torch.cat([real, real & ~torch.eye(number, dtype=torch.bool)])
    device = matcher.device
    with inference(matcher.matcher, device, matcher.dtype):
        encoded = matcher.matcher.encode_images(regions.expand(number + 1, -1, -1).to(device), mask.to(device))
        scores = matcher.matcher.similarity(encoded, texts.to(device)).cpu()
    return ((scores[:1] - scores[1:]).clamp(min=0) * real[0][:, None]).T.clone()


def shares(drops: Float[Tensor, "C R"]) -> Float[Tensor, "C R"]:
    """Divide each row by its sum; a row of zeros stays.

    >>> shares(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
    tensor([[0.2500, 0.7500],
            [0.0000, 0.0000]])
    """
    wide = drops.double()
    return (wide / wide.sum(dim=1, keepdim=True).clamp(min=1e-12)).float()
