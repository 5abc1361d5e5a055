"""Latency of a single request: one caption against one image, and against a gallery."""

from functools import partial

import torch
from torch import Tensor

from benchmarks.rows import Row
from benchmarks.timing import take_turns
from benchmarks.workload import closed_form, draw_captions, draw_regions, dual_encoder, encode, sgraf, vse
from tangka_match.models import CCA, SGRAF, VSE, DualEncoder
from tangka_match.types import Encoded

GALLERY, SHORTLIST = 3636, 100


def latency_rows(rounds: int) -> list[Row]:
    """Measure the milliseconds from regions and token ids to scores, with a loaded model and an encoded gallery."""
    fast, exact = vse(), sgraf("sgr")
    fast_gallery, exact_gallery = (encode(model, GALLERY, 1)[0] for model in (fast, exact))
    waits = {
        "one caption, one picture, VSE": (partial(one_pair, fast), 2.0),
        "one caption, one picture, SGR": (partial(one_pair, exact), 8.0),
        f"one caption, {GALLERY:,} pictures, VSE": (partial(search, fast, fast_gallery), 5.0),
    }
    for name, model in (("dual encoder", dual_encoder()), ("closed form (best)", closed_form())):
        waits[f"one caption, one picture, {name}"] = (partial(one_pair, model), 2.0)
        waits[f"one caption, {GALLERY:,} pictures, {name}"] = (
            partial(search, model, encode(model, GALLERY, 1)[0]),
            5.0,
        )
    waits[f"one caption, {GALLERY:,} pictures, SGR on VSE's top {SHORTLIST}"] = (
        partial(rerank, fast, fast_gallery, exact, exact_gallery),
        120.0,
    )
    # Not interleaved: repeated requests to one model find its weights in the cache.
    timings = {name: take_turns({name: wait}, rounds)[name] for name, (wait, _) in waits.items()}
    return [
        Row(name, "ms", [1000 * s for s in timings[name].seconds], target, at_least=False)
        for name, (_, target) in waits.items()
    ]


@torch.inference_mode()
def one_pair(model: VSE | SGRAF | DualEncoder | CCA) -> Tensor:
    """Encode and score one image and one caption."""
    return model.similarity(model.encode_images(*_PICTURE), model.encode_texts(*_CAPTION))


@torch.inference_mode()
def search(model: VSE | DualEncoder | CCA, gallery: Encoded) -> Tensor:
    """Score one caption against all images, (3,636,)."""
    return model.similarity(gallery, model.encode_texts(*_CAPTION))[:, 0]


@torch.inference_mode()
def rerank(fast: VSE, fast_gallery: Encoded, exact: SGRAF, exact_gallery: Encoded) -> Tensor:
    """Re-rank the top images of the fast model by the scores of the exact one, (100,)."""
    shortlist = search(fast, fast_gallery).topk(SHORTLIST).indices
    return exact.similarity(exact_gallery[shortlist], exact.encode_texts(*_CAPTION))[:, 0]


_PICTURE = draw_regions(1)
_CAPTION = draw_captions(1, {8: 1})
