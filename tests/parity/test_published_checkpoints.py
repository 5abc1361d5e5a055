"""``convert`` on checkpoints of SCAN, VSE++ and VSE-infinity: the scores equal those of the published equations."""

import pytest
import torch

import tangka_match
from helpers.bad_input import assert_one_message
from helpers.cli import run_cli_in_process
from helpers.old_torch_files import save_legacy
from helpers.published_networks import (
    FEATURES,
    PublishedSCAN,
    PublishedVSEInfinity,
    PublishedVSEInfinityBERT,
    PublishedVSEPlusPlus,
)
from helpers.tiny_pretrained import write_bert
from tangka_match.convert import main as convert
from tangka_match.data.vocabulary import Vocabulary

WORDS = Vocabulary(["绿度母", "坐", "在", "莲花", "上", "。"])
CAPTIONS = ("绿度母坐在莲花上。", "莲花", "上 坐 莲花 绿度母")
TOLERANCE = 2e-6
NETWORKS = {
    "scan_t2i": lambda: PublishedSCAN(len(WORDS), "t2i", "LogSumExp"),
    "scan_t2i two layers": lambda: PublishedSCAN(len(WORDS), "t2i", "Mean", layers=2),
    "scan_i2t": lambda: PublishedSCAN(len(WORDS), "i2t", "LogSumExp"),
    "scan_i2t mean": lambda: PublishedSCAN(len(WORDS), "i2t", "Mean"),
    "vse_plus_plus": lambda: PublishedVSEPlusPlus(len(WORDS), layers=2),
    "vse_infinity": lambda: PublishedVSEInfinity(len(WORDS)),
}
SAVE = {
    "torch 2": torch.save,
    "torch 1.5": save_legacy,
    "torch 0.4 of Python 2": lambda content, path: save_legacy(content, path, python=2),
}


def make_network(name):
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def expected_scores(network, regions, matcher):
    ids = [torch.tensor(WORDS.encode(matcher.tokenizer(caption))) for caption in CAPTIONS]
    with torch.no_grad():
        return torch.stack([torch.stack([network.score(image, caption) for caption in ids]) for image in regions])


@pytest.fixture
def overrides(tmp_path):
    WORDS.save_json(tmp_path / "vocab.json")
    return (
        f"source={tmp_path / 'model_best.pth.tar'}",
        f"vocab={tmp_path / 'vocab.json'}",
        f"out={tmp_path / 'ours.ckpt'}",
    )


@pytest.mark.parametrize("save", SAVE)
@pytest.mark.parametrize("name", NETWORKS)
def test_recognised_checkpoint_gives_the_published_scores(name, save, overrides, tmp_path):
    network = make_network(name)
    SAVE[save](network.checkpoint(), tmp_path / "model_best.pth.tar")
    done = run_cli_in_process(*overrides, main=convert)
    assert done.code == 0, done.stderr
    assert f"mapping      {name.split()[0]}\n" in done.stdout
    matcher = tangka_match.load(tmp_path / "ours.ckpt")
    regions = torch.randn(3, 1 if name == "vse_plus_plus" else 4, FEATURES)
    expected = expected_scores(network, regions, matcher)
    assert expected.std() > 0.01, "the scores do not differ"
    torch.testing.assert_close(matcher.similarity(regions, CAPTIONS), expected, atol=TOLERANCE, rtol=0)


def test_data_parallel_image_encoder(overrides, tmp_path):
    """VSE-infinity wraps only its image encoder."""
    network = make_network("vse_infinity")
    content = network.checkpoint()
    content["model"][0] = {f"module.{key}": value for key, value in content["model"][0].items()}
    torch.save(content, tmp_path / "model_best.pth.tar")
    done = run_cli_in_process(*overrides, "mapping=vse_infinity", main=convert)
    assert done.code == 0, done.stderr
    matcher = tangka_match.load(tmp_path / "ours.ckpt")
    regions = torch.randn(2, 3, FEATURES)
    expected = expected_scores(network, regions, matcher)
    torch.testing.assert_close(matcher.similarity(regions, CAPTIONS), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "scan_t2i",
            ("raw_feature_norm", "softmax"),
            r"opt\.raw_feature_norm is 'softmax'; the mapping is for 'clipped_l2",
        ),
        ("scan_t2i", ("agg_func", "Max"), r"opt\.agg_func is 'Max'; the mapping knows LogSumExp, Mean"),
        ("vse_plus_plus", ("measure", "order"), r"opt\.measure is 'order'; the mapping is for 'cosine'"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_exception_option_that_our_model_lacks(name, change, message, given, overrides, tmp_path):  # noqa: PLR0917
    content = make_network(name).checkpoint()
    vars(content["opt"]).update([change])
    torch.save(content, tmp_path / "model_best.pth.tar")
    done = run_cli_in_process(*overrides, *([f"mapping={name}"] if given else []), main=convert)
    assert_one_message(done, message)
    assert not (tmp_path / "ours.ckpt").exists()


def test_exception_checkpoint_without_options(overrides, tmp_path):
    content = make_network("scan_i2t").checkpoint()
    del content["opt"]
    torch.save(content, tmp_path / "model_best.pth.tar")
    done = run_cli_in_process(*overrides, "mapping=scan_i2t", main=convert)
    assert_one_message(done, r"opt\.embed_size is missing; write the value of embed_dim into the mapping instead")


def test_exception_image_encoder_with_its_own_network(overrides, tmp_path):
    """VSE++ with ``--finetune`` holds the weights of a CNN."""
    content = make_network("vse_plus_plus").checkpoint()
    content["model"][0]["cnn.module.conv1.weight"] = torch.zeros(1)
    torch.save(content, tmp_path / "model_best.pth.tar")
    done = run_cli_in_process(*overrides, "mapping=vse_plus_plus", main=convert)
    assert_one_message(done, r"0\.cnn\.module\.conv1\.weight \(1,\) is not mapped; map it to null to drop it")


@pytest.fixture
def fine_tuned(tmp_path):
    """Write a BERT, and a checkpoint of VSE-infinity whose BERT has other weights; return folder, network, content."""
    transformers = pytest.importorskip("transformers")
    folder = write_bert(tmp_path / "bert")
    torch.manual_seed(5)
    network = PublishedVSEInfinityBERT(transformers.BertModel(transformers.BertConfig.from_pretrained(folder))).eval()
    for name, parameter in network.named_parameters():
        if "LayerNorm" not in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return folder, network, network.checkpoint()


@pytest.mark.parametrize("positions", [True, False])
def test_fine_tuned_bert_gives_the_published_scores(positions, fine_tuned, tmp_path):
    """Releases of transformers before 4.31 saved the constant positions as well."""
    folder, network, content = fine_tuned
    if positions:
        content["model"][1]["bert.embeddings.position_ids"] = torch.arange(60)[None]
    torch.save(content, tmp_path / "model_best.pth.tar")
    words = (f"source={tmp_path}/model_best.pth.tar", f"out={tmp_path}/ours.ckpt", f"text_model={folder}")
    done = run_cli_in_process(*words, main=convert)
    assert done.code == 0, done.stderr
    assert "mapping      vse_infinity_bert\n" in done.stdout
    transformers = pytest.importorskip("transformers")
    cut = transformers.AutoTokenizer.from_pretrained(folder)
    captions = ("绿度母右手持乌巴拉花。", "白云", "佛在莲花上")
    regions = torch.randn(3, 4, FEATURES)
    with torch.no_grad():
        ids = [torch.tensor(cut(caption)["input_ids"]) for caption in captions]
        expected = torch.stack([torch.stack([network.score(image, own) for own in ids]) for image in regions])
    assert expected.std() > 0.01, "the scores do not differ"
    matcher = tangka_match.load(tmp_path / "ours.ckpt")
    torch.testing.assert_close(matcher.similarity(regions, captions), expected, atol=TOLERANCE, rtol=0)


def test_exception_bert_without_its_folder(fine_tuned, tmp_path):
    torch.save(fine_tuned[2], tmp_path / "model_best.pth.tar")
    done = run_cli_in_process(f"source={tmp_path}/model_best.pth.tar", f"out={tmp_path}/ours.ckpt", main=convert)
    assert_one_message(done, r"text_model is not set: .*give the folder or hub name of the encoder")


def test_exception_another_bert(fine_tuned, tmp_path):
    folder, _, content = fine_tuned
    key = "bert.embeddings.word_embeddings.weight"
    content["model"][1][key] = content["model"][1][key][:20]
    torch.save(content, tmp_path / "model_best.pth.tar")
    words = (f"source={tmp_path}/model_best.pth.tar", f"out={tmp_path}/ours.ckpt", f"text_model={folder}")
    assert_one_message(
        run_cli_in_process(*words, main=convert), r"has 20 vectors, but text_model numbers its word pieces"
    )
