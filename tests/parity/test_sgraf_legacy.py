"""Scores of checkpoints trained by the published code equal those of the published code."""

import argparse
import json

import jieba
import numpy as np
import pytest
import torch

from helpers.shared import SHARED, needs_shared
from tangka_match.errors import CheckpointError
from tangka_match.models import SGRAF

pytestmark = needs_shared


@pytest.fixture(params=["sgr", "saf"])
def reasoning(request) -> str:
    return request.param


def load_legacy(reasoning):
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(SHARED / f"fixtures/legacy_{reasoning}/model_best.pth.tar", weights_only=True)
    options = checkpoint["opt"]
    model = SGRAF(
        vocab_size=options.vocab_size,
        feature_dim=options.img_dim,
        reasoning=reasoning,
        embed_dim=options.embed_size,
        word_dim=options.word_dim,
        sim_dim=options.sim_dim,
    )
    return model.eval(), checkpoint["model"]


def read_split(reasoning, split):
    folder = SHARED / f"fixtures/legacy_{reasoning}"
    words = json.loads((folder / "vocab/mini_precomp_vocab.json").read_text("utf-8"))["word2idx"]
    captions = (folder / f"data/mini_precomp/{split}_caps.txt").read_text("utf-8").splitlines()
    wrapped = [["<start>", *jieba.lcut(caption.lower()), "<end>"] for caption in captions]
    ids = [torch.tensor([words.get(word, words["<unk>"]) for word in caption]) for caption in wrapped]
    token_ids = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    token_mask = torch.arange(token_ids.shape[1]) < torch.tensor([len(x) for x in ids])[:, None]
    regions = torch.from_numpy(np.load(folder / f"data/mini_precomp/{split}_ims.npy")).float()
    return regions, torch.ones(regions.shape[:2], dtype=torch.bool), token_ids, token_mask


@pytest.mark.parametrize("split", ["dev", "test"])
@torch.no_grad()
def test_scores(reasoning, split):
    model, states = load_legacy(reasoning)
    model.load_published_state(states)
    regions, region_mask, token_ids, token_mask = read_split(reasoning, split)
    scores = model.similarity(model.encode_images(regions, region_mask), model.encode_texts(token_ids, token_mask))
    expected = torch.from_numpy(np.load(SHARED / f"fixtures/legacy_{reasoning}/expected_sims_{split}.npy"))
    torch.testing.assert_close(scores, expected, atol=2e-6, rtol=0)


def test_wrong_number_of_parts_is_refused(reasoning):
    model, states = load_legacy(reasoning)
    with pytest.raises(CheckpointError, match=r"holds 3 state dicts .*, this one 2"):
        model.load_published_state(states[:2])


def test_refuses_weights_of_the_other_reasoning():
    model, _ = load_legacy("sgr")
    with pytest.raises(CheckpointError, match=r"(?s)do not fit this SGRAF: .*SGR_module\.0\.graph_query_w\.weight"):
        model.load_published_state(load_legacy("saf")[1])
