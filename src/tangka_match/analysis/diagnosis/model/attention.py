"""Where words look in a picture, or, for models whose words look nowhere, which regions a score hangs on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tangka_match.analysis.diagnosis.model.failures import worst_queries
from tangka_match.analysis.diagnosis.model.scored import Scored
from tangka_match.analysis.diagnosis.texts import FUNCTION_WORDS
from tangka_match.data.dataset import ImageDataset
from tangka_match.retrieval.encode import inference
from tangka_match.retrieval.trained_matcher import TrainedMatcher
from tangka_match.types import Attentive

EXAMPLES = 4
"""Pairs shown of those that are found first, and of those that are not."""
MOST_WORDS = 6
SAMPLE = 500
"""Pairs that the mean focus is measured on."""
OCCLUSION = (
    "by occlusion: how much the score falls when a region is left out (after Zeiler and Fergus, arXiv 1311.2901), "
    "since no word of this model looks at a region"
)


@dataclass(frozen=True)
class Look:
    """Where one word, or a whole caption, looks.

    Args:
        text: The word.
        weights: (R,) shares of the regions.
    """

    text: str
    weights: tuple[float, ...]


@dataclass(frozen=True)
class Example:
    """A caption over a picture.

    Args:
        caption: Its number.
        image: Row of the picture.
        title: What the pair is an example of.
        looks: Words to draw.
    """

    caption: int
    image: int
    title: str
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Attention:
    """Where a model looks.

    Args:
        note: What the weights are.
        regions: Mean number of regions that a word looks at, exp of the entropy of its weights; ``None`` by occlusion.
        examples: Pairs to draw.
    """

    note: str
    regions: float | None
    examples: Sequence[Example]


def look(matcher: TrainedMatcher, scored: Scored) -> Attention:
    """Choose pairs and measure where their captions look.

    Shown are pairs that are found first, those with the clearest lead, and of the worst caption queries the right
    picture and the one that stood first.

    Args:
        matcher: The model.
        scored: Its view of a split.
    """
    model, device = matcher.matcher, matcher.device
    note, focus = OCCLUSION, None
    if isinstance(model, Attentive):
        with inference(model, device, matcher.dtype):
            note = model.word_attention(scored.images[:1].to(device), scored.texts[:1].to(device)).note
        focus = _focus(matcher, scored)
    examples = []
    for caption, image, title in _pairs(scored):
        looks = (
            _words(matcher, scored, caption, image) if focus is not None else _occluded(matcher, scored, caption, image)
        )
        examples.append(Example(caption, image, title, looks))
    return Attention(note, focus, examples)


def entropy_regions(weights: Float[Tensor, "*N R"]) -> Float[Tensor, "*N"]:
    """How many regions weights are spread over: exp of their entropy, from 1 to R.

    >>> entropy_regions(torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]))
    tensor([2., 1.])
    """
    return torch.special.entr(weights).sum(dim=-1).exp()


def _pairs(scored: Scored) -> list[tuple[int, int, str]]:
    scores, own, ranks = scored.direction("t2i")
    right = scores.masked_fill(~own, float("-inf")).amax(dim=1)
    lead = right - scores.masked_fill(own, float("-inf")).amax(dim=1)
    found = [c for c in lead.argsort(descending=True, stable=True).tolist() if ranks[c] == 1][:EXAMPLES]
    pairs = [(caption, int(scored.owners[caption]), "found first") for caption in found]
    for query in worst_queries(scored, "t2i", EXAMPLES // 2):
        pairs.append((query.item, query.right.item, f"its own picture, place {query.rank:,}"))
        pairs.append((query.item, query.answers[0].item, "what the model put first instead"))
    return pairs


def _weights(matcher: TrainedMatcher, scored: Scored, caption: int, image: int) -> Float[Tensor, "T R"]:
    """Of the caption's words alone, without ``<start>`` and ``<end>``."""
    model = matcher.matcher
    assert isinstance(model, Attentive)
    assert scored.texts.mask is not None
    with inference(model, matcher.device, matcher.dtype):
        attention = model.word_attention(
            scored.images[image : image + 1].to(matcher.device), scored.texts[caption : caption + 1].to(matcher.device)
        )
    real = int(scored.texts.mask[caption].sum())
    return attention.weights[0, 0, 1 : real - 1].float().cpu()


def _focus(matcher: TrainedMatcher, scored: Scored) -> float:
    """Mean over the words of at most ``SAMPLE`` captions, spread over the split, on their own pictures."""
    step = -(-len(scored.owners) // SAMPLE)
    spread = [
        entropy_regions(_weights(matcher, scored, caption, int(scored.owners[caption])))
        for caption in range(0, len(scored.owners), step)
    ]
    return torch.cat(spread).mean().item()


def _words(matcher: TrainedMatcher, scored: Scored, caption: int, image: int) -> tuple[Look, ...]:
    """The words of sharpest sight, in the order of the caption; function words and repetitions are left out."""
    weights = _weights(matcher, scored, caption, image)
    words = list(scored.words[caption])[: len(weights)]
    first = {word: place for place, word in reversed(list(enumerate(words))) if word not in FUNCTION_WORDS}
    sharpness = entropy_regions(weights)
    chosen = sorted(first.values(), key=lambda place: (float(sharpness[place]), place))[:MOST_WORDS]
    return tuple(Look(words[place], tuple(weights[place].tolist())) for place in sorted(chosen))


def _occluded(matcher: TrainedMatcher, scored: Scored, caption: int, image: int) -> tuple[Look, ...]:
    """Shares of the whole caption: how much each region adds to the score."""
    rows = ImageDataset(scored.split).__getitems__(np.array([image]))
    regions, real = torch.from_numpy(rows.regions).float(), torch.from_numpy(rows.region_mask)
    number = regions.shape[1]
    mask = torch.cat([real, real & ~torch.eye(number, dtype=torch.bool)])
    device = matcher.device
    with inference(matcher.matcher, device, matcher.dtype):
        encoded = matcher.matcher.encode_images(regions.expand(number + 1, -1, -1).to(device), mask.to(device))
        scores = matcher.matcher.similarity(encoded, scored.texts[caption : caption + 1].to(device))[:, 0].cpu()
    falls = ((scores[0] - scores[1:]).clamp(min=0) * real[0]).double()
    return (Look("the whole caption", tuple((falls / falls.sum().clamp(min=1e-12)).tolist())),)
