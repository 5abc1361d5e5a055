"""Encoders as ONNX graphs: onnxruntime computes the scores of the model."""

import sys
from unittest import mock

import onnxruntime
import pytest
import torch

from helpers.random_pairs import FEATURE_DIM, NUM_REGIONS, VOCAB_SIZE, random_pairs
from helpers.small_matchers import small_matcher
from helpers.tiny_pretrained import PIECES, write_bert, write_chinese_clip
from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import CheckpointError, ConfigError
from tangka_match.models import ChineseCLIP, PretrainedCCA, PretrainedText
from tangka_match.ops import l2_normalise
from tangka_match.retrieval.metadata import make_metadata
from tangka_match.retrieval.onnx_graphs import IMAGE, TEXT, has_whole_score, write_graph
from tangka_match.retrieval.trained_matcher import TrainedMatcher

WHOLE = (
    "dual_path",
    "gru_gpo",
    "lstm_k_max",
    "transformers_mean",
    "characters_max",
    "vse_plus_plus",
    "cca",
    "cca_hubs",
)
SIZES = {"feature_dim": FEATURE_DIM, "num_regions": NUM_REGIONS}


def trained(model, words=VOCAB_SIZE):
    """Return a model as if it had been loaded, with a vocabulary of ``words`` words."""
    vocabulary = Vocabulary([f"词{number}" for number in range(words - 4)])
    metadata = make_metadata(
        name="tiny",
        run_id="run",
        model={},
        vocabulary=vocabulary.to_dict(),
        vocabulary_fingerprint=vocabulary.fingerprint(),
        tokenizer=JiebaTokenizer().settings(),
        max_tokens=20,
        data_fingerprint="data",
        **SIZES,
    )
    return TrainedMatcher(model.eval(), metadata)


def scores_of_graphs(folder, pairs):
    images, texts = (onnxruntime.InferenceSession(str(folder / f"{side.name}.onnx")) for side in (IMAGE, TEXT))
    regions = {"regions": pairs.regions.numpy(), "region_mask": pairs.region_mask.numpy()}
    tokens = {"token_ids": pairs.token_ids.numpy(), "token_mask": pairs.token_mask.numpy()}
    return torch.from_numpy(images.run(None, regions)[0] @ texts.run(None, tokens)[0].T)


def check_scores(model, folder, words=VOCAB_SIZE, score=None):
    matcher = trained(model, words)
    for side in (IMAGE, TEXT):
        write_graph(matcher, side, folder)
    for seed, images, captions, length in ((0, 3, 5, 8), (1, 1, 2, 12), (2, 7, 1, 2)):
        pairs = random_pairs(seed, images, captions, length)
        pairs = pairs._replace(token_ids=pairs.token_ids.clamp(max=words - 1))
        with torch.no_grad():
            expected = pairs.score(model) if score is None else score(pairs)
        torch.testing.assert_close(scores_of_graphs(folder, pairs), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", WHOLE)
def test_scores_equal_those_of_the_model(name, tmp_path):
    model = small_matcher(name)
    assert has_whole_score(trained(model))
    check_scores(model, tmp_path)


def test_vectors_of_vse_are_a_part_of_its_score(tmp_path):
    model = small_matcher("vse")
    assert not has_whole_score(trained(model))

    def pooled(pairs):
        images = model.encode_images(pairs.regions, pairs.region_mask).pooled
        return images @ model.encode_texts(pairs.token_ids, pairs.token_mask).pooled.T

    check_scores(model, tmp_path, score=pooled)


def pretrained(name, folder):
    sizes = {"vocab_size": len(PIECES), **SIZES}
    torch.manual_seed(0)
    if name == "chinese_clip":
        return ChineseCLIP(text_model=str(write_chinese_clip(folder, projection_dim=FEATURE_DIM)), **sizes)
    model = str(write_bert(folder))
    if name == "bert_vse":
        return PretrainedText(text_model=model, embed_dim=8, **sizes)
    if name == "bert_vse_infinity":
        return PretrainedText(text_model=model, embed_dim=8, pooling="gpo", **sizes)
    settings = {"sentence_kernel": "gaussian", "hub_weight": 0.5} if name == "pretrained_cca_kernel" else {}
    matcher = PretrainedCCA(text_model=model, embed_dim=8, codebook_size=7, num_hashes=40, **sizes, **settings)
    if settings:
        matcher.kernel.fit(torch.randn(60, matcher.text_tower.width), torch.Generator())
        matcher.hubs.fit(*(l2_normalise(torch.randn(50, 8)) for _ in range(2)), torch.Generator())
    return matcher


@pytest.mark.parametrize(
    "name", ["bert_vse", "bert_vse_infinity", "pretrained_cca", "pretrained_cca_kernel", "chinese_clip"]
)
def test_scores_equal_those_of_models_with_a_pretrained_text_encoder(name, tmp_path):
    check_scores(pretrained(name, tmp_path / "pretrained"), tmp_path, words=len(PIECES))


@pytest.mark.parametrize("name", ["saf", "both", "scan_t2i", "cross_modal_transformer"])
def test_models_without_comparable_vectors_are_refused(name):
    with pytest.raises(CheckpointError, match=r"no encoders that could be used alone.*cca, dual_encoder"):
        has_whole_score(trained(small_matcher(name)))


def test_a_graph_that_computes_something_else_is_refused(tmp_path):
    model = small_matcher("vse_plus_plus")
    original = model.encode_images

    def other_in_the_graph(regions, mask):
        return original(regions + 1 if torch.onnx.is_in_onnx_export() else regions, mask)

    differs = pytest.raises(CheckpointError, match=r"image_encoder.onnx: computes vectors that differ by .* 0.0001")
    with mock.patch.object(model, "encode_images", other_in_the_graph), differs:
        write_graph(trained(model), IMAGE, tmp_path)


def test_an_encoder_that_cannot_be_traced_is_named(tmp_path):
    model = small_matcher("vse_plus_plus")

    def asks_the_host(regions, mask):
        raise RuntimeError(f"{int(mask.sum())} regions")

    with mock.patch.object(model, "encode_images", asks_the_host), pytest.raises(CheckpointError) as found:
        write_graph(trained(model), IMAGE, tmp_path)
    assert "VSEPlusPlus: its image_encoder cannot be written as an ONNX graph" in str(found.value)


def test_a_missing_package_is_named(tmp_path):
    with mock.patch.dict(sys.modules, onnxscript=None), pytest.raises(ConfigError, match=r"onnxscript.*\[export\]"):
        write_graph(trained(small_matcher("cca")), IMAGE, tmp_path)


def test_torch_without_operators_for_graphs_is_named(tmp_path, monkeypatch):
    """They came with torch 2.8."""
    monkeypatch.delattr(torch.onnx, "ops")
    with pytest.raises(ConfigError, match=r"export needs torch>=2\.8 for recurrent layers; found"):
        write_graph(trained(small_matcher("cca")), IMAGE, tmp_path)
