"""How long one user waits: one caption against one picture, and against a gallery."""

from functools import partial

import torch
from torch import Tensor

from benchmarks.rows import Row
from benchmarks.timing import take_turns
from benchmarks.workload import draw_captions, draw_regions, dual_encoder, encode, sgraf, vse
from tangka_match.models import SGRAF, VSE, DualEncoder
from tangka_match.types import Encoded

GALLERY, SHORTLIST = 3636, 100


def latency_rows(rounds: int) -> list[Row]:
    """Milliseconds from regions and word ids to scores, model loaded; a gallery is encoded beforehand."""
    fast, exact, plain = vse(), sgraf("sgr"), dual_encoder()
    fast_gallery, exact_gallery, plain_gallery = (encode(model, GALLERY, 1)[0] for model in (fast, exact, plain))
    timings = take_turns(
        {
            "VSE": partial(one_pair, fast),
            "SGR": partial(one_pair, exact),
            "gallery": partial(search, fast, fast_gallery),
            "plain": partial(one_pair, plain),
            "plain gallery": partial(search, plain, plain_gallery),
            "rerank": partial(rerank, fast, fast_gallery, exact, exact_gallery),
        },
        rounds,
    )
    names = {
        "VSE": ("one caption, one picture, VSE", 2.0),
        "SGR": ("one caption, one picture, SGR", 8.0),
        "gallery": (f"one caption, {GALLERY:,} pictures, VSE", 5.0),
        "plain": ("one caption, one picture, dual encoder", 2.0),
        "plain gallery": (f"one caption, {GALLERY:,} pictures, dual encoder", 5.0),
        "rerank": (f"one caption, {GALLERY:,} pictures, SGR on VSE's top {SHORTLIST}", 120.0),
    }
    return [
        Row(name, "ms", [1000 * s for s in timings[key].seconds], target, at_least=False)
        for key, (name, target) in names.items()
    ]


@torch.inference_mode()
def one_pair(model: VSE | SGRAF | DualEncoder) -> Tensor:
    """Encode and score."""
    return model.similarity(model.encode_images(*_PICTURE), model.encode_texts(*_CAPTION))


@torch.inference_mode()
def search(model: VSE | DualEncoder, gallery: Encoded) -> Tensor:
    """Scores of all pictures, (3,636,)."""
    return model.similarity(gallery, model.encode_texts(*_CAPTION))[:, 0]


@torch.inference_mode()
def rerank(fast: VSE, fast_gallery: Encoded, exact: SGRAF, exact_gallery: Encoded) -> Tensor:
    """Exact scores of the pictures that the fast model puts first, (100,)."""
    shortlist = search(fast, fast_gallery).topk(SHORTLIST).indices
    return exact.similarity(exact_gallery[shortlist], exact.encode_texts(*_CAPTION))[:, 0]


_PICTURE = draw_regions(1)
_CAPTION = draw_captions(1, {8: 1})
