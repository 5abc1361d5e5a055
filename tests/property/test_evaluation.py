"""The score of a trained model depends only on the image and the caption."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tangka_match
from helpers.precomp import make_captions
from helpers.small_checkpoints import SAF, SGR, write_checkpoint
from tangka_match.retrieval import trained_matcher
from tangka_match.retrieval.score_matrix import score_matrix
from tangka_match.retrieval.trained_matcher import TrainedMatcher

CAPTIONS = [*make_captions([0, 1, 2, 3, 4]), "绿度母", "白度母坐在莲花座上,手持宝剑,手持金刚杵,手持经书。"]
IMAGES, REGIONS, DIM = 5, 4, 8
few = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=[SAF, SGR], ids=["saf", "sgr"])
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    return write_checkpoint(folder / "best.ckpt", CAPTIONS, model=request.param, regions=REGIONS + 2)


@pytest.fixture(scope="module")
def model(checkpoint):
    return tangka_match.load(checkpoint)


@pytest.fixture(scope="module")
def expected(model):
    return model.similarity(make_regions(), CAPTIONS)


def make_regions():
    regions = np.random.default_rng(0).normal(size=(IMAGES, REGIONS, DIM)).astype(np.float32)
    regions[1, -1] = 0
    return regions


@few
@given(batch=st.integers(1, 9), image_chunk=st.integers(1, 6), caption_chunk=st.integers(1, 8))
def test_batch_and_chunk_sizes_do_not_change_scores(model, expected, batch, image_chunk, caption_chunk):
    matcher = TrainedMatcher(model.matcher, model.metadata, batch)
    images, texts = matcher.encode_images(make_regions()), matcher.encode_texts(CAPTIONS)
    found = score_matrix(matcher.matcher, images, texts, image_chunk=image_chunk, caption_chunk=caption_chunk)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@few
@given(data=st.data(), batch=st.integers(1, 9))
def test_order_of_items_does_not_change_scores(model, expected, data, batch):
    rows = data.draw(st.permutations(range(IMAGES)))
    columns = data.draw(st.permutations(range(len(CAPTIONS))))
    matcher = TrainedMatcher(model.matcher, model.metadata, batch)
    found = matcher.similarity(make_regions()[rows], [CAPTIONS[c] for c in columns])
    torch.testing.assert_close(found, expected[rows][:, columns], rtol=0, atol=1e-6)


@few
@given(extra=st.integers(0, 2))
def test_padded_regions_do_not_change_scores(model, expected, extra):
    padded = np.pad(make_regions(), ((0, 0), (0, extra), (0, 0)))
    torch.testing.assert_close(model.similarity(padded, CAPTIONS), expected, rtol=0, atol=1e-6)


def test_progress_bar_does_not_change_scores(model, expected, monkeypatch, capsys):
    monkeypatch.setattr(trained_matcher, "PROGRESS_PAIRS", 0)
    assert torch.equal(model.similarity(make_regions(), CAPTIONS), expected)
    assert capsys.readouterr().out.strip() == ""
