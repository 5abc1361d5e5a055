"""Effect of bfloat16 on recall, on the small trained models of the parity fixtures."""

import argparse
import json
from pathlib import Path

import jieba
import numpy as np
import torch

from benchmarks.rows import Row
from tangka_match.metrics import retrieval_ranks, summarise
from tangka_match.models import SGRAF
from tangka_match.retrieval import score_matrix

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
CAPTIONS_PER_IMAGE = 5


def precision_rows() -> list[Row]:
    """Measure the difference in mean R@1 between bfloat16 and float32, in points, on the 50 images of dev and test."""
    if not FIXTURES.exists():
        return []
    rows = []
    for reasoning in ("sgr", "saf"):
        model = _trained(reasoning)
        images, texts = _encoded(model, reasoning)
        owners = torch.arange(len(texts)) // CAPTIONS_PER_IMAGE
        recalls = [
            summarise(retrieval_ranks(score_matrix(model, images, texts, dtype=dtype), owners))["mean_r1"]
            for dtype in (torch.float32, torch.bfloat16)
        ]
        note = f"{recalls[0]:.1f} -> {recalls[1]:.1f} with {len(images)} images"
        found = abs(recalls[1] - recalls[0])
        rows.append(Row(f"{reasoning.upper()}, mean R@1, bfloat16", "points", [found], 0.3, at_least=False, note=note))
    return rows


def _trained(reasoning: str) -> SGRAF:
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(FIXTURES / f"legacy_{reasoning}/model_best.pth.tar", weights_only=True)
    sizes = checkpoint["opt"]
    model = SGRAF(
        vocab_size=sizes.vocab_size,
        feature_dim=sizes.img_dim,
        reasoning=reasoning,
        embed_dim=sizes.embed_size,
        word_dim=sizes.word_dim,
        sim_dim=sizes.sim_dim,
    )
    model.load_published_state(checkpoint["model"])
    return model.eval()


@torch.no_grad()
def _encoded(model: SGRAF, reasoning: str):  # noqa: ANN202
    folder = FIXTURES / f"legacy_{reasoning}"
    words = json.loads((folder / "vocab/mini_precomp_vocab.json").read_text("utf-8"))["word2idx"]
    regions, ids = [], []
    for split in ("dev", "test"):
        regions.append(torch.from_numpy(np.load(folder / f"data/mini_precomp/{split}_ims.npy")).float())
        for line in (folder / f"data/mini_precomp/{split}_caps.txt").read_text("utf-8").splitlines():
            caption = ["<start>", *jieba.lcut(line.lower()), "<end>"]
            ids.append(torch.tensor([words.get(word, words["<unk>"]) for word in caption]))
    token_ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    mask = torch.arange(token_ids.shape[1]) < torch.tensor([len(x) for x in ids])[:, None]
    images = torch.cat(regions)
    return model.encode_images(images, torch.ones(images.shape[:2], dtype=torch.bool)), model.encode_texts(
        token_ids, mask
    )
