"""Tests of ``tangka_match.data.segmentation``."""

import logging
import random
import re

import pytest

from helpers.shared import SHARED, needs_f8kcn
from tangka_match.data.segmentation import (
    DictionaryEntry,
    domain_terms,
    jieba_segmenter,
    parse_entry,
    read_user_dictionary,
    rjieba_available,
    rjieba_segmenter,
)
from tangka_match.errors import DataFormatError

needs_rjieba = pytest.mark.skipif(not rjieba_available(), reason="rjieba is not installed")
CARRIERS = ("{}", "这幅唐卡的主尊是{}。", "右手持{}，左手置于膝上", "画面上的{}十分精美", "{0}、{0}和{0}")


@pytest.fixture(scope="module", params=[True, False], ids=["hmm", "no hmm"])
def pair(request):
    return jieba_segmenter(domain_terms(), hmm=request.param), rjieba_segmenter(domain_terms(), hmm=request.param)


def assert_same(pair, texts):
    exact, fast = pair
    assert [text for text in texts if exact(text) != fast(text)] == []


@needs_rjieba
def test_same_output_for_all_terms(pair):
    assert_same(pair, [carrier.format(entry.word) for entry in domain_terms() for carrier in CARRIERS])


@needs_rjieba
@needs_f8kcn
def test_same_output_for_real_captions(pair):
    captions = (SHARED / "data/f8kcn/train_caps.txt").read_text(encoding="utf-8").splitlines()[::6]
    assert len(captions) >= 4_999
    assert_same(pair, captions)


@needs_rjieba
@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "6.4Y4人",  # rjieba alone splits these and the following differently
        "C-74金1",
        "2_1",
        "㐂金刚",
        "金刚\u9fd6杵",
        "兵兵兵兵兵",
        "串成串成串",
        "花重锦团花簇锦团花坞乡集",
        "唐\ud800卡",
    ],
)
def test_same_output_where_rjieba_differs(pair, text):
    assert_same(pair, [text])


@needs_rjieba
def test_same_output_for_random_mixtures(pair):
    generator = random.Random(0)  # noqa: S311 - a seeded test
    pieces = [entry.word for entry in domain_terms()] + list("的在是和有一二三，。、！ab12Z. -&《》😀㐂 \n")
    texts = ["".join(generator.choices(pieces, k=generator.randint(1, 8))) for _ in range(3_000)]
    texts += ["".join(generator.sample(text, len(text))) for text in texts]
    assert_same(pair, texts)


@needs_rjieba
def test_same_output_if_replaced_words_change_the_total():
    entries = [DictionaryEntry(word, 1, "") for word in "的了在是我和有他不这人也上你说"]
    exact, fast = jieba_segmenter(entries, hmm=True), rjieba_segmenter(entries, hmm=True)
    for text in (
        "悬在半空中的年轻男人。",
        "三个小黑女孩。",
        "发短命令行",
    ):  # needs corrected total
        assert exact(text) == fast(text)


@needs_rjieba
def test_same_output_with_replaced_words_and_without_frequency():
    entries = [
        DictionaryEntry("莲花", 900_000, "n"),
        DictionaryEntry("莲花上师", None, ""),
        DictionaryEntry("gpu", 50, ""),
        DictionaryEntry("贼匪", 3, "n"),
    ]
    exact, fast = jieba_segmenter(entries, hmm=True), rjieba_segmenter(entries, hmm=True)
    texts = ["莲花上师坐在莲花上", "一张gpu卡", "呤呤呤呤呤", "贼匪贼魁祸", "自购自利升", "冬冬冬化汞", "头刷浆状头"]
    assert [fast(text) for text in texts] == [exact(text) for text in texts]
    assert "莲花上师" in fast(texts[0])


def test_loading_does_not_change_the_global_tokenizer_or_log(caplog, capfd):
    import jieba  # noqa: PLC0415 - this import is part of what is tested

    caplog.set_level(logging.DEBUG)
    before = dict(jieba.dt.FREQ)
    assert jieba_segmenter([DictionaryEntry("绿度母像", 9, "")], hmm=True)("绿度母像") == ["绿度母像"]
    assert before == jieba.dt.FREQ
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def write(folder, content):
    path = folder / "words.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_domain_terms_are_unique_and_complete():
    entries = domain_terms()
    words = [entry.word for entry in entries]
    assert len(words) >= 300
    assert len(words) == len(set(words))
    assert all(entry.frequency is not None and entry.tag for entry in entries)
    assert all(re.fullmatch("[\u4e00-\u9fd5]{2,}", word) for word in words)
    assert {"结跏趺坐", "嘎巴拉碗", "乌巴拉花"} <= set(words)


def test_all_line_formats_are_read(tmp_path):
    path = write(tmp_path, "\ufeff# 唐卡\r\n度母\r\n\n  大黑天 20\t nz \n手印 n\n宝幢 7\n")
    assert read_user_dictionary(path) == (
        DictionaryEntry("度母", None, ""),
        DictionaryEntry("大黑天", 20, "nz"),
        DictionaryEntry("手印", None, "n"),
        DictionaryEntry("宝幢", 7, ""),
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("大黑天 0 nz", "frequency 0 is not between 1 and 1000000000"),
        ("大黑天 -3", "frequency -3 is not between"),
        ("大黑天 99999999999999999999999", "frequency 99999999999999999999 is not between"),
        ("大黑天 2O n", "'2O' is neither a frequency nor a tag"),
        ("大黑天 nz 20", "'20' is neither a frequency nor a tag"),
        ("大黑天 20 nz 玛哈嘎拉", "'玛哈嘎拉' is neither a frequency nor a tag"),
        ("大黑天 1.5", "'1.5' is neither a frequency nor a tag"),
    ],
)
def test_invalid_line_is_reported(tmp_path, line, reason):
    path = write(tmp_path, f"度母 5\n{line}\n手印\n")
    with pytest.raises(DataFormatError, match=re.escape(f"{path}, line 2: {line!r}: ") + ".*" + re.escape(reason)):
        read_user_dictionary(path)


def test_missing_file(tmp_path):
    with pytest.raises(DataFormatError, match=r"absent\.txt: cannot read .*No such file.*user_dictionaries"):
        read_user_dictionary(tmp_path / "absent.txt")


def test_wrong_encoding(tmp_path):
    path = write(tmp_path, b"abc\n" + "度母".encode("gb18030"))
    with pytest.raises(DataFormatError, match=r"words\.txt: user dictionary is not UTF-8 \(byte 0xb6 at position 4\)"):
        read_user_dictionary(path)


def test_parse_entry_does_not_modify_its_input():
    fields = ["大黑天", "20", "nz"]
    parse_entry(fields)
    assert fields == ["大黑天", "20", "nz"]
