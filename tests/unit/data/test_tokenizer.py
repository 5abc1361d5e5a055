import json
import pickle
import re

import pytest

from helpers.shared import SHARED, needs_f8kcn, needs_shared
from helpers.term_contexts import CONTEXTS
from tangka_match.data.segmentation import domain_terms
from tangka_match.data.tokenizer import JiebaTokenizer
from tangka_match.data.vocabulary import Vocabulary
from tangka_match.errors import ConfigError, DataFormatError


@pytest.fixture(scope="module")
def tokenizer():
    return JiebaTokenizer(backend="jieba")


@pytest.fixture(scope="module")
def plain():
    """Return the tokenizer of the published vocabularies."""
    return JiebaTokenizer(domain_dictionary=False, normalise=False, keep_punctuation=True)


@pytest.mark.parametrize("hmm", [True, False])
def test_no_domain_term_is_split(hmm):
    tokenizer = JiebaTokenizer(backend="jieba", hmm=hmm)
    sentences = [(entry.word, carrier) for entry in domain_terms() for carrier in CONTEXTS]
    broken = [(word, carrier) for word, carrier in sentences if word not in tokenizer(carrier.format(word))]
    assert broken == []


def test_domain_terms_in_a_real_caption(tokenizer, plain):
    caption = "四臂观音头戴五佛冠，手持嘎巴拉碗与乌巴拉花，结跏趺坐于莲花月轮座。"
    assert "/".join(tokenizer(caption)) == "四臂观音/头戴/五佛冠/手持/嘎巴拉碗/与/乌巴拉花/结跏趺坐/于/莲花月轮座"
    assert {"嘎巴拉碗", "乌巴拉花", "结跏趺坐"}.isdisjoint(plain(caption))


@needs_f8kcn
def test_domain_terms_do_not_change_everyday_captions(tokenizer):
    everyday = JiebaTokenizer(domain_dictionary=False)
    captions = (SHARED / "data/f8kcn/train_caps.txt").read_text(encoding="utf-8").splitlines()[::6]
    changed = [caption for caption in captions if tokenizer(caption) != everyday(caption)]
    assert len(changed) <= len(captions) / 1_000, changed


def test_normalise_converts_width_and_drops_invisible_characters(tokenizer, plain):
    assert tokenizer("ＧＰＵ\u200b绘制　唐卡") == ["gpu", "绘制", "唐卡"]
    assert plain("ＧＰＵ GPU")[-1] == "gpu"
    assert plain("Ｇ") == ["ｇ"]


def test_punctuation_is_dropped_or_kept():
    assert JiebaTokenizer()("一个男人, 坐着。") == ["一个", "男人", "坐", "着"]
    assert JiebaTokenizer(keep_punctuation=True)("一个男人， 坐着。") == ["一个", "男人", ",", "坐", "着", "。"]


@pytest.mark.parametrize("text", ["", " ", "\n\t", "。", "……"])
def test_captions_without_words_give_no_tokens(tokenizer, text):
    assert tokenizer(text) == []


def test_hmm_joins_unknown_characters():
    assert JiebaTokenizer(hmm=True)("小明硕士毕业于杭研") != JiebaTokenizer(hmm=False)("小明硕士毕业于杭研")
    assert JiebaTokenizer(hmm=False)("杭研") == ["杭", "研"]


def test_dictionary_words_that_can_never_be_found_are_named(tmp_path, caplog):
    path = tmp_path / "words.txt"
    path.write_text("莲花·生 5\n嘎巴拉碗\n红，白\nＧＰＵ卡\n", "utf-8")
    tokenizer = JiebaTokenizer(user_dictionaries=[str(path)])
    assert "2 of 4 words can never be found" in caplog.text
    assert "莲花·生 (·), 红，白 (,)" in caplog.text
    assert "莲花·生" not in tokenizer("一尊莲花·生")


def test_user_dictionaries_take_precedence_and_are_normalised(tmp_path):
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("绘有唐卡 90000000 n\n金刚ＧＰＵ\n", encoding="utf-8")
    second.write_text("结跏趺坐 700\n金刚GPU 7 nz\n", encoding="utf-8")
    tokenizer = JiebaTokenizer(user_dictionaries=[str(first), str(second)])
    assert tokenizer("绘有唐卡的金刚Gpu") == ["绘有唐卡", "的", "金刚gpu"]
    words = {word: (frequency, tag) for word, frequency, tag in tokenizer.settings()["words"]}
    assert words["结跏趺坐"] == (700, "")
    assert words["金刚gpu"] == (7, "nz")
    assert len(words) == len(domain_terms()) + 2


def test_settings_rebuild_the_tokenizer_without_its_files(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("绘有唐卡 90000000 n\n度母像\n", encoding="utf-8")
    tokenizer = JiebaTokenizer(user_dictionaries=[str(path)], hmm=False, keep_punctuation=True, backend="jieba")
    path.unlink()
    settings = json.loads(json.dumps(tokenizer.settings()))
    rebuilt = JiebaTokenizer.from_settings(settings)
    assert rebuilt.settings() == tokenizer.settings()
    assert (rebuilt.hmm, rebuilt.normalise, rebuilt.keep_punctuation) == (False, True, True)
    text = "绘有唐卡，度母像，结跏趺坐，杭研。"
    assert rebuilt(text) == tokenizer(text)
    assert "绘有唐卡" in rebuilt(text)


def test_settings_differ_between_tokenizers_but_not_backends():
    base = JiebaTokenizer().settings()
    assert JiebaTokenizer(backend="jieba").settings() == base
    for changed in (
        JiebaTokenizer(hmm=False),
        JiebaTokenizer(normalise=False),
        JiebaTokenizer(keep_punctuation=True),
        JiebaTokenizer(domain_dictionary=False),
    ):
        assert changed.settings() != base


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, r"settings have the keys \['extra', 'hmm'.*must be exactly \['hmm'"),
        ({"name": "bert"}, r"name='bert'"),
        ({"hmm": "yes"}, r"hmm='yes' must be true or false"),
        ({"words": [["度母", 0, ""]]}, r"words has \['度母', 0, ''\]: frequency 0 is not"),
        ({"words": [["度母"]]}, r"words has \['度母'\]"),
        ({"words": [[7, 7, "n"]]}, r"words has \[7, 7, 'n'\]"),
        ({"words": [["度母", True, ""]]}, r"words has \['度母', True, ''\]"),
        ({"words": 3}, r"words=3 must be a list"),
    ],
)
def test_invalid_settings(change, message):
    settings = {**JiebaTokenizer(domain_dictionary=False).settings(), **change}
    with pytest.raises(ConfigError, match=message):
        JiebaTokenizer.from_settings(settings)


def test_pickling_before_and_after_use(tokenizer):
    expected = tokenizer("绿度母结跏趺坐")
    for original in (JiebaTokenizer(), tokenizer):
        assert pickle.loads(pickle.dumps(original))("绿度母结跏趺坐") == expected


def test_constructing_loads_no_dictionary(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("loaded")

    monkeypatch.setattr("tangka_match.data.tokenizer.jieba_segmenter", fail)
    tokenizer = JiebaTokenizer(backend="jieba")
    with pytest.raises(AssertionError, match="loaded"):
        tokenizer("唐卡")


def test_backends(monkeypatch):
    chosen = []
    for name in ("jieba", "rjieba"):
        monkeypatch.setattr(
            f"tangka_match.data.tokenizer.{name}_segmenter",
            lambda *_, name=name, **__: chosen.append(name) or str.split,
        )
    for installed in (True, False):
        monkeypatch.setattr("tangka_match.data.tokenizer.rjieba_available", lambda installed=installed: installed)
        JiebaTokenizer(backend="auto")("唐卡")
        JiebaTokenizer(backend="jieba")("唐卡")
    assert chosen == ["rjieba", "jieba", "jieba", "jieba"]
    with pytest.raises(ConfigError, match=r"backend='rjieba', but rjieba is not installed"):
        JiebaTokenizer(backend="rjieba")


def test_invalid_arguments(tmp_path):
    with pytest.raises(ConfigError, match=r"backend='pkuseg' must be one of auto, jieba, rjieba"):
        JiebaTokenizer(backend="pkuseg")
    with pytest.raises(ConfigError, match=r"user_dictionaries='words\.txt' must be a list of paths"):
        JiebaTokenizer(user_dictionaries="words.txt")
    absent = str(tmp_path / "absent.txt")
    with pytest.raises(DataFormatError, match=re.escape(absent)):
        JiebaTokenizer(user_dictionaries=[absent])


@needs_shared
@pytest.mark.parametrize("name", ["legacy_sgr", "legacy_saf"])
def test_published_vocabulary_is_rebuilt_from_the_captions(plain, name):
    folder = SHARED / "fixtures" / name
    captions = {
        split: [
            plain(line) for line in (folder / f"data/mini_precomp/{split}_caps.txt").read_text("utf-8").splitlines()
        ]
        for split in ("train", "dev", "test")
    }
    published = Vocabulary.load(folder / "vocab/mini_precomp_vocab.json")
    # SGRAF counts the words of train and dev; these fixtures drop the words seen once.
    rebuilt = Vocabulary.build(captions["train"] + captions["dev"], min_count=2)
    assert rebuilt.to_dict() == published.to_dict()
    assert all(rebuilt.unknown_share(tokens) == published.unknown_share(tokens) for tokens in captions.values())
