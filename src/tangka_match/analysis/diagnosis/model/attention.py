"""Word-to-region attention weights; for models without attention, the effect of each region on the score."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.analysis.diagnosis.model.failures import worst_queries
from tangka_match.analysis.diagnosis.model.scored import ScoredByModel
from tangka_match.analysis.diagnosis.texts import FUNCTION_WORDS
from tangka_match.retrieval.attention import OCCLUSION, attention_weights, occlusion_drops, shares
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import Attentive

EXAMPLES = 4
"""Example pairs of captions ranked correctly, and of captions ranked incorrectly."""
MAX_WORDS = 6
"""Most words drawn per pair."""
SAMPLE = 500
"""Pairs for the mean number of attended regions."""


@dataclass(frozen=True)
class WordAttention:
    """Attention of a word, or of a whole caption, over the regions.

    Args:
        text: Word, or a name for the whole caption.
        weights: (R,) weights of the regions, with sum 1.
    """

    text: str
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Example:
    """Pair of a caption and an image, with attention weights.

    Args:
        caption: Row of the caption.
        image: Row of the image.
        title: Description of the pair.
        words: Attention of the words to draw.
    """

    caption: int
    image: int
    title: str
    words: tuple[WordAttention, ...]


@dataclass(frozen=True)
class Attention:
    """Attention of a model over regions.

    Args:
        note: Definition of the weights.
        regions: Mean number of regions that a word attends to (exp of the entropy of its weights); ``None`` by
            occlusion.
        examples: Example pairs.
    """

    note: str
    regions: float | None
    examples: Sequence[Example]


def measure_attention(matcher: TrainedMatcher, scored: ScoredByModel) -> Attention:
    """Choose example pairs and compute their attention weights.

    The examples are the correctly ranked captions with the largest score lead, and the worst caption queries with their
    own image and with the image ranked first.

    Args:
        matcher: Model.
        scored: Scores and ranks of a split.
    """
    note, mean_regions = OCCLUSION, None
    if isinstance(matcher.matcher, Attentive):
        note = attention_weights(matcher, scored.images[:1], scored.texts[:1], scored.words[0])[1]
        mean_regions = _mean_regions(matcher, scored)
    examples = []
    for caption, image, title in _pairs(scored):
        weigh = _occlusion_weights if mean_regions is None else _sharpest_words
        examples.append(Example(caption, image, title, weigh(matcher, scored, caption, image)))
    return Attention(note, mean_regions, examples)


def entropy_regions(weights: Float[Tensor, "*N R"]) -> Float[Tensor, "*N"]:
    """Compute the effective number of attended regions: exp of the entropy of the weights, from 1 to R.

    >>> entropy_regions(torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]))
    tensor([2., 1.])
    """
    return torch.special.entr(weights).sum(dim=-1).exp()


def _pairs(scored: ScoredByModel) -> list[tuple[int, int, str]]:
    scores, own, ranks = scored.direction("t2i")
    right = scores.masked_fill(~own, float("-inf")).amax(dim=1)
    lead = right - scores.masked_fill(own, float("-inf")).amax(dim=1)
    found = [c for c in lead.argsort(descending=True, stable=True).tolist() if ranks[c] == 1][:EXAMPLES]
    pairs = [(caption, int(scored.owners[caption]), "own image, rank 1") for caption in found]
    for query in worst_queries(scored, "t2i", EXAMPLES // 2):
        pairs.append((query.item, query.right.item, f"own image, rank {query.rank:,}"))
        pairs.append((query.item, query.answers[0].item, "image ranked first instead"))
    return pairs


def _weights(matcher: TrainedMatcher, scored: ScoredByModel, caption: int, image: int) -> Float[Tensor, "T R"]:
    chosen = scored.images[image : image + 1], scored.texts[caption : caption + 1]
    return attention_weights(matcher, *chosen, scored.words[caption])[0]


def _mean_regions(matcher: TrainedMatcher, scored: ScoredByModel) -> float:
    """Average over the words of at most ``SAMPLE`` captions, evenly sampled, on their own images."""
    step = -(-len(scored.owners) // SAMPLE)
    spread = [
        entropy_regions(_weights(matcher, scored, caption, int(scored.owners[caption])))
        for caption in range(0, len(scored.owners), step)
    ]
    return torch.cat(spread).mean().item()


def _sharpest_words(
    matcher: TrainedMatcher, scored: ScoredByModel, caption: int, image: int
) -> tuple[WordAttention, ...]:
    """Return the words with the most concentrated attention, in caption order, without function words and repeats."""
    weights = _weights(matcher, scored, caption, image)
    words = list(scored.words[caption])[: len(weights)]
    first = {word: place for place, word in reversed(list(enumerate(words))) if word not in FUNCTION_WORDS}
    sharpness = entropy_regions(weights)
    chosen = sorted(first.values(), key=lambda place: (float(sharpness[place]), place))[:MAX_WORDS]
    return tuple(WordAttention(words[place], tuple(weights[place].tolist())) for place in sorted(chosen))


def _occlusion_weights(
    matcher: TrainedMatcher, scored: ScoredByModel, caption: int, image: int
) -> tuple[WordAttention, ...]:
    """Compute the contribution of each region to the score of the whole caption."""
    drops = occlusion_drops(matcher, scored.split, image, scored.texts[caption : caption + 1])
    return (WordAttention("whole caption", tuple(shares(drops)[0].tolist())),)
